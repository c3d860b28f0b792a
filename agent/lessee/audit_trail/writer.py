"""Adds acts to a trail: all of a call or none, whoever else writes there, and never over what is not as it was left."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.audit_trail.keys import Private, make_key, private_key
from lessee.audit_trail.policy.entries import (
    ALTERED,
    MENDED,
    Act,
    Entry,
    Head,
    entry_of,
    hash_of,
    head_of,
    is_begun,
    line_of,
    signed_part,
)
from lessee.audit_trail.policy.file_names import HEAD, NEW, PUBLIC, order, segment
from lessee.audit_trail.reader import LARGEST_LINE, opened, segments
from lessee.core.errors import WriteError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.host.directories import cannot_write, entries, open_directory

SEGMENT = 16 * 1024 * 1024
"""Bytes after which the trail goes on in another file."""
PATIENCE = 10.0
"""Seconds for which another writer is waited for, who needs a few milliseconds."""
_LOOK = 0.005
_MOST = 64 * LARGEST_LINE
"""Bytes behind the head's entry that are looked at: more than anybody writes at once."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Writer:
    """Of one folder. Each entry is on the disk when `add` is done with it."""

    def __init__(self, directory: Path, key_file: Path, *, segment_size: int = SEGMENT) -> None:
        """Makes the folder and, for a trail that is to begin, the key. Raises WriteError and ConfigError."""
        self._path = directory
        self._size = segment_size
        self._last = Head()
        """Where it ended when this writer was last here."""
        self._fd = open_directory(directory, make=(0o700, None, None))
        try:
            with self._held():
                self._key = private_key(key_file) or self._first_key(key_file)
                self._begin()
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """What is written stays."""
        os.close(self._fd)

    def add(self, acts: Sequence[Act]) -> str:
        """Each follows what stands there, even where that was altered: that shows, for good.

        Gives what had to be mended or was found altered, else an empty text. Raises WriteError: then none is written.
        They are written at once, and whoever wants many to be quick gives many.
        """
        if not acts:
            return ""
        self._follow_path()
        with self._held():
            head, mended, altered = self._look()
            said = mended or altered
            if said:
                told = replace(acts[0], act=MENDED if mended else ALTERED, outcome="done")
                acts = [replace(told, subject={"what": said}), *acts]
            self._append(head, acts, anew=bool(altered))
        return said

    def _follow_path(self) -> None:
        """Somebody may have put another folder there: what is written must be where it is looked for."""
        with suppress(OSError):
            if os.path.samestat(self._path.stat(), os.fstat(self._fd)):
                return
        fd = open_directory(self._path, make=(0o700, None, None))
        os.close(self._fd)
        self._fd = fd

    def _begin(self) -> None:
        there = entries(self._fd)
        if PUBLIC not in there and HEAD not in there and not segments(self._fd):
            self._write_head(Head())
        self._publish()

    def _publish(self) -> None:
        if PUBLIC not in entries(self._fd):
            self._replace(PUBLIC, self._key.public.pem())

    def _look(self) -> tuple[Head, str, str]:
        """Where to go on; what a writer that was ended had left, and what somebody altered."""
        head, there, last = self._head(), segments(self._fd), self._last
        if head is None:
            newest = self._newest(there)
            if not newest.n and not last.n and (there or HEAD in entries(self._fd)):
                todo = "bring back the key that it was begun with; or let a new trail begin in another folder"
                raise WriteError("nothing of the trail is signed by this key", where=str(self._path), todo=todo)
            self._publish()
            return max(newest, last, key=_n), "", f"{HEAD} is missing or changed"
        if head.n < last.n or (head.n == last.n and head.hash != last.hash):
            return last, "", f"it was put back to entry {head.n}, and had come to entry {last.n}"
        beyond = [name for name in there if not head.n or order(name) > order(head.file)]
        try:
            size, rest = self._rest(head.file, head.size) if head.n else (0, b"")
            if size < head.size:
                return head, "", f"{head.file} is cut"
            if not rest and beyond == [segment(head.n + 1)]:
                return self._mended(head, beyond[0], 0, self._rest(beyond[0], 0)[1])
        except FileNotFoundError:
            return head, "", f"{head.file} is missing"
        if beyond:
            return head, "", f"{beyond[0]} is none of lessee's, or {HEAD} is an older one"
        return self._mended(head, head.file, head.size, rest) if rest else (head, "", "")

    def _rest(self, name: str, at: int) -> tuple[int, bytes]:
        """How long a file is, and what stands in it from there on. Raises FileNotFoundError and WriteError."""
        with self._readable(name) as fd:
            size = os.fstat(fd).st_size
            return size, os.pread(fd, min(max(0, size - at), _MOST), at)

    def _mended(self, head: Head, file: str, at: int, rest: bytes) -> tuple[Head, str, str]:
        """What was written at once and its writer did not come to put into the head, and of one more what there is."""
        known = head.n
        while True:
            line, newline, more = rest.partition(b"\n")
            entry = entry_of(line + newline)
            is_next = entry is not None and (entry.n, entry.before, entry.head) == (head.n + 1, head.hash, known)
            if entry is None or not is_next or not self._is_ours(entry):
                break
            at += len(line) + 1
            head, rest = Head(entry.n, hash_of(line), file, at), more
        if head.n > known:
            head = self._write_head(head)
        if not rest:
            return head, "", ""
        if not is_begun(rest, head.n + 1, head.hash):
            return head, "", f"{file} goes on with what is none of lessee's"
        with cannot_write(self._path / file):
            if at:
                fd = os.open(file, _APPEND, dir_fd=self._fd)
                try:
                    os.ftruncate(fd, at)
                finally:
                    os.close(fd)
            else:
                os.unlink(file, dir_fd=self._fd)
        return head, f"a writer was ended in the middle of entry {head.n + 1}, {len(rest)} bytes of it", ""

    def _append(self, head: Head, acts: Sequence[Act], *, anew: bool) -> None:
        n, before, lines = head.n, head.hash, []
        for act in acts:
            n += 1
            entry = Entry(n, before, head.n, act)
            lines.append(line_of(replace(entry, signature=self._key.sign(signed_part(entry)))))
            before = hash_of(lines[-1])
        text = b"".join(lines)
        anew = anew or not head.n or head.size + len(text) > self._size
        name = self._fresh(head.n + 1) if anew else head.file
        with cannot_write(self._path / name):
            fd = os.open(name, _APPEND | (os.O_CREAT | os.O_EXCL if anew else 0), 0o640, dir_fd=self._fd)
            size = os.fstat(fd).st_size
            try:
                self._give_away(fd)
                _write_all(fd, text)
                os.fsync(fd)
                if anew:
                    os.fsync(self._fd)
                self._write_head(Head(n, before, name, size + len(text)))
            except BaseException:
                # Nothing is half there: what follows goes on where these would have stood.
                written = self._head()
                if written is not None and written.n == n:
                    raise
                with suppress(OSError):
                    os.ftruncate(fd, size)
                    if anew:
                        os.unlink(name, dir_fd=self._fd)
                raise
            finally:
                os.close(fd)

    def _fresh(self, n: int) -> str:
        there = entries(self._fd)
        return next(name for again in range(10_000) if (name := segment(n, again)) not in there)

    def _write_head(self, head: Head) -> Head:
        head = replace(head, signature=self._key.sign(signed_part(head)))
        self._replace(HEAD, line_of(head))
        self._last = head
        return head

    def _replace(self, name: str, content: bytes) -> None:
        with cannot_write(self._path / name):
            with suppress(FileNotFoundError):
                os.unlink(NEW, dir_fd=self._fd)
            fd = os.open(NEW, _CREATE, 0o640, dir_fd=self._fd)
            try:
                self._give_away(fd)
                _write_all(fd, content)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(NEW, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)

    def _head(self) -> Head | None:
        with suppress(FileNotFoundError), self._readable(HEAD) as fd:
            head = head_of(os.read(fd, LARGEST_LINE))
            return head if head is not None and self._is_ours(head) else None
        return None

    @contextmanager
    def _readable(self, name: str) -> Iterator[int]:
        """What may not be read is not taken for altered. Raises FileNotFoundError and WriteError."""
        try:
            with opened(self._fd, name) as fd:
                yield fd
        except FileNotFoundError:
            raise
        except OSError as exc:
            todo = "let all who write this trail run as one user, or as root"
            what = f"the trail cannot be read: {exc.strerror}"
            raise WriteError(what, where=str(self._path / name), todo=todo) from None

    def _newest(self, there: Sequence[str]) -> Head:
        """Without a head: the last entry that is ours."""
        for name in reversed(there):
            found, size = None, 0
            with self._readable(name) as fd, open(fd, "rb", closefd=False) as stream:
                for line in stream:
                    size += len(line)
                    entry = entry_of(line)
                    if entry is not None and self._is_ours(entry):
                        found = Head(entry.n, hash_of(line), name, size)
            if found is not None:
                return found
        return Head()

    def _is_ours(self, made: Entry | Head) -> bool:
        return self._key.public.is_genuine(signed_part(made), made.signature)

    def _first_key(self, key_file: Path) -> Private:
        if segments(self._fd) or HEAD in entries(self._fd):
            todo = "bring it back from where it is kept; or let a new trail begin in another folder"
            raise WriteError("the trail's key is gone", where=str(key_file), todo=todo)
        return make_key(key_file)

    def _give_away(self, fd: int) -> None:
        """What root writes belongs to the folder's owner, who writes there too."""
        if os.geteuid() == 0:
            owner = os.fstat(self._fd)
            os.fchown(fd, owner.st_uid, owner.st_gid)

    @contextmanager
    def _held(self) -> Iterator[None]:
        until = boot_time() + PATIENCE
        with cannot_write(self._path):
            while not _is_locked(self._fd):
                if boot_time() > until:
                    raise WriteError("somebody holds the trail, and does not let go", where=str(self._path))
                time.sleep(_LOOK)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _n(head: Head) -> int:
    return head.n


def _write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]
