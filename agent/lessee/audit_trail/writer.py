"""Appends actions to an audit trail: atomically, with other writers, and without overwriting altered entries."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.audit_trail.keys import PrivateKey, make_key, private_key
from lessee.audit_trail.policy.entries import (
    ALTERED,
    REPAIRED,
    Action,
    Entry,
    Head,
    decode_entry,
    decode_head,
    encode_line,
    hash_line,
    is_torn_entry,
    signed_part,
)
from lessee.audit_trail.policy.file_names import HEAD, NEW_FILE, PUBLIC, segment_name, sort_key
from lessee.audit_trail.reader import LARGEST_LINE, opened, segments
from lessee.core.errors import WriteError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.host.directories import entries, open_directory, translate_write_errors
from lessee.host.ownership import foreign_writer

SEGMENT_SIZE = 16 * 1024 * 1024
"""Bytes after which the audit trail continues in another file."""
LOCK_TIMEOUT = 10.0
"""Seconds to wait for another writer, which needs a few milliseconds."""
_LOCK_INTERVAL = 0.005
_MAX_READ = 64 * LARGEST_LINE
"""Bytes after the head's entry that are read: more than a writer appends in one step."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class AuditTrailWriter:
    """A writer for one directory. Each entry is on disk when `add` returns."""

    def __init__(self, directory: Path, key_file: Path, *, segment_size: int = SEGMENT_SIZE) -> None:
        """Creates the directory and, for a new audit trail, the key. Raises WriteError and ConfigError."""
        self._path = directory
        self._size = segment_size
        self._last = Head()
        """The head as this writer last wrote it."""
        self._fd = _open_directory(directory)
        try:
            with self._locked():
                self._key = private_key(key_file) or self._first_key(key_file)
                self._initialize()
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)

    def add(self, actions: Sequence[Action]) -> str:
        """Append actions in one step; also after an altered entry, which stays visible forever.

        Returns what had to be repaired or was altered, else an empty text. Raises WriteError: then no action is
        written. One call with many actions is faster than many calls.
        """
        if not actions:
            return ""
        self._follow_path()
        with self._locked():
            head, repaired, altered = self._inspect()
            what = repaired or altered
            if what:
                notice = replace(actions[0], name=REPAIRED if repaired else ALTERED, outcome="done")
                actions = [replace(notice, subject={"what": what}), *actions]
            self._append(head, actions, new_file=bool(altered))
        return what

    def _follow_path(self) -> None:
        """Reopen the directory if another one is at its path now: entries must be written where readers look."""
        with suppress(OSError):
            if os.path.samestat(self._path.stat(), os.fstat(self._fd)):
                return
        fd = _open_directory(self._path)
        if os.fstat(fd).st_uid not in {0, os.geteuid(), os.fstat(self._fd).st_uid}:
            os.close(fd)
            todo = "remove it, or restart lessee if that is intended"
            raise WriteError("another user has replaced the audit trail's directory", where=str(self._path), todo=todo)
        os.close(self._fd)
        self._fd = fd

    def _initialize(self) -> None:
        there = entries(self._fd)
        if PUBLIC not in there and HEAD not in there and not segments(self._fd):
            self._write_head(Head())
        self._publish()

    def _publish(self) -> None:
        if PUBLIC not in entries(self._fd):
            self._replace(PUBLIC, self._key.public.pem())

    def _inspect(self) -> tuple[Head, str, str]:
        """The head to continue from; what a killed writer left, if anything; and what was altered, if anything."""
        head, there, last = self._head(), segments(self._fd), self._last
        if head is None:
            newest = self._last_genuine(there)
            if not newest.n and not last.n and (there or HEAD in entries(self._fd)):
                todo = "restore the key that started it, or start a new audit trail in another directory"
                raise WriteError("no entry of the audit trail is signed by this key", where=str(self._path), todo=todo)
            self._publish()
            return max(newest, last, key=_n), "", f"{HEAD} is missing or changed"
        if head.n < last.n or (head.n == last.n and head.hash != last.hash):
            return last, "", f"it was restored to entry {head.n}, but had reached entry {last.n}"
        beyond = [name for name in there if not head.n or sort_key(name) > sort_key(head.file)]
        try:
            size, rest = self._rest(head.file, head.size) if head.n else (0, b"")
            if size < head.size:
                return head, "", f"{head.file} is truncated"
            if not rest and beyond == [segment_name(head.n + 1)]:
                return self._repaired(head, beyond[0], 0, self._rest(beyond[0], 0)[1])
        except FileNotFoundError:
            return head, "", f"{head.file} is missing"
        if beyond:
            return head, "", f"{beyond[0]} was not written by lessee, or {HEAD} is an older version"
        return self._repaired(head, head.file, head.size, rest) if rest else (head, "", "")

    def _rest(self, name: str, offset: int) -> tuple[int, bytes]:
        """The size of a file, and its content from an offset. Raises FileNotFoundError and WriteError."""
        with self._readable(name) as fd:
            size = os.fstat(fd).st_size
            return size, os.pread(fd, min(max(0, size - offset), _MAX_READ), offset)

    def _repaired(self, head: Head, file: str, at: int, rest: bytes) -> tuple[Head, str, str]:
        """Take entries after the head, whose writer was killed before it updated the head, and remove a torn one."""
        known = head.n
        while True:
            line, newline, more = rest.partition(b"\n")
            entry = decode_entry(line + newline)
            is_next = entry is not None and (entry.n, entry.previous_hash, entry.head) == (head.n + 1, head.hash, known)
            if entry is None or not is_next or not self._is_signed(entry):
                break
            at += len(line) + 1
            head, rest = Head(entry.n, hash_line(line), file, at), more
        if head.n > known:
            head = self._write_head(head)
        if not rest:
            return head, "", ""
        if not is_torn_entry(rest, head.n + 1, head.hash):
            return head, "", f"{file} continues with content that lessee did not write"
        with translate_write_errors(self._path / file):
            if at:
                fd = self._open_segment(file)
                try:
                    os.ftruncate(fd, at)
                finally:
                    os.close(fd)
            else:
                os.unlink(file, dir_fd=self._fd)
        return head, f"a writer was killed while it wrote entry {head.n + 1}; removed its first {len(rest)} bytes", ""

    def _append(self, head: Head, actions: Sequence[Action], *, new_file: bool) -> None:
        n, previous_hash, lines = head.n, head.hash, []
        for action in actions:
            n += 1
            entry = Entry(n, previous_hash, head.n, action)
            lines.append(encode_line(replace(entry, signature=self._key.sign(signed_part(entry)))))
            previous_hash = hash_line(lines[-1])
        text = b"".join(lines)
        new_file = new_file or not head.n or head.size + len(text) > self._size
        name = self._unused_name(head.n + 1) if new_file else head.file
        with translate_write_errors(self._path / name):
            if new_file:
                fd = os.open(name, _APPEND | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=self._fd)
            else:
                fd = self._open_segment(name)
            size = os.fstat(fd).st_size
            try:
                if new_file:
                    self._set_owner(fd)
                _write_all(fd, text)
                os.fsync(fd)
                if new_file:
                    os.fsync(self._fd)
                self._write_head(Head(n, previous_hash, name, size + len(text)))
            except BaseException:
                # Remove the partial entries, so that the next ones take their place.
                written = self._head()
                if written is not None and written.n == n:
                    raise
                with suppress(OSError):
                    os.ftruncate(fd, size)
                    if new_file:
                        os.unlink(name, dir_fd=self._fd)
                raise
            finally:
                os.close(fd)

    def _open_segment(self, name: str) -> int:
        """Open an existing file to change it. Raises OSError, and WriteError for what is no file of this directory.

        Root writes into directories of other users, who could put a file of root there by a link or a rename.
        """
        fd = os.open(name, _APPEND | os.O_NONBLOCK, dir_fd=self._fd)
        status, owner = os.fstat(fd), os.fstat(self._fd).st_uid
        if stat.S_ISREG(status.st_mode) and (owner == os.geteuid() or status.st_uid == owner):
            return fd
        os.close(fd)
        what = f"uid {owner} owns the audit trail's directory, but not this file"
        raise WriteError(what, where=str(self._path / name), todo="give it to the owner of the directory, or remove it")

    def _unused_name(self, n: int) -> str:
        there = entries(self._fd)
        return next(name for duplicate in range(10_000) if (name := segment_name(n, duplicate)) not in there)

    def _write_head(self, head: Head) -> Head:
        head = replace(head, signature=self._key.sign(signed_part(head)))
        self._replace(HEAD, encode_line(head))
        self._last = head
        return head

    def _replace(self, name: str, content: bytes) -> None:
        with translate_write_errors(self._path / name):
            with suppress(FileNotFoundError):
                os.unlink(NEW_FILE, dir_fd=self._fd)
            fd = os.open(NEW_FILE, _CREATE, 0o640, dir_fd=self._fd)
            try:
                self._set_owner(fd)
                _write_all(fd, content)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(NEW_FILE, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)

    def _head(self) -> Head | None:
        with suppress(FileNotFoundError), self._readable(HEAD) as fd:
            head = decode_head(os.read(fd, LARGEST_LINE))
            return head if head is not None and self._is_signed(head) else None
        return None

    @contextmanager
    def _readable(self, name: str) -> Iterator[int]:
        """Open a file; one that may not be read is an error, not altered. Raises FileNotFoundError and WriteError."""
        try:
            with opened(self._fd, name) as fd:
                yield fd
        except FileNotFoundError:
            raise
        except OSError as exc:
            todo = "run all programs that write this audit trail as one user, or as root"
            what = f"the audit trail cannot be read: {exc.strerror}"
            raise WriteError(what, where=str(self._path / name), todo=todo) from None

    def _last_genuine(self, there: Sequence[str]) -> Head:
        """The head of the last entry that this key signed, for an audit trail without a valid head."""
        for name in reversed(there):
            found, size = None, 0
            with self._readable(name) as fd, open(fd, "rb", closefd=False) as stream:
                for line in stream:
                    size += len(line)
                    entry = decode_entry(line)
                    if entry is not None and self._is_signed(entry):
                        found = Head(entry.n, hash_line(line), name, size)
            if found is not None:
                return found
        return Head()

    def _is_signed(self, record: Entry | Head) -> bool:
        return self._key.public.is_genuine(signed_part(record), record.signature)

    def _first_key(self, key_file: Path) -> PrivateKey:
        if segments(self._fd) or HEAD in entries(self._fd):
            todo = "restore it from a backup, or start a new audit trail in another directory"
            raise WriteError("the audit trail's key is missing", where=str(key_file), todo=todo)
        return make_key(key_file)

    def _set_owner(self, fd: int) -> None:
        """Give files that root writes to the directory's owner, who also writes there."""
        if os.geteuid() == 0:
            owner = os.fstat(self._fd)
            os.fchown(fd, owner.st_uid, owner.st_gid)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = boot_time() + LOCK_TIMEOUT
        with translate_write_errors(self._path):
            while not _is_locked(self._fd):
                if boot_time() > deadline:
                    raise WriteError("another process keeps the audit trail locked", where=str(self._path))
                time.sleep(_LOCK_INTERVAL)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def _open_directory(path: Path) -> int:
    """Open or create the directory. Raises WriteError if a user to whom root did not give it could replace it."""
    fd = open_directory(path, make=(0o700, None, None))
    try:
        with translate_write_errors(path):
            found = foreign_writer(fd, own=False)
    except BaseException:
        os.close(fd)
        raise
    if found is not None:
        os.close(fd)
        what = f"another user could replace the audit trail: {found.what}"
        raise WriteError(what, where=str(path), todo=found.todo)
    return fd


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
