"""Shows a generation to an app's readers in one step."""

import os
import re
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import CannotWrite
from lessee.core.generation import File, Generation
from lessee.core.record import Record
from lessee.host.directories import cannot_write, entries, open_directory, opened, own, refuse_strangers
from lessee.host.mounts import is_memory, refuse_disk

_LIVE = "..data"
_OURS = "..lessee-"
_TURN = f"{_OURS}link"
_FOLDER = re.compile(r"\.\.lessee-([0-9]+)-[0-9a-f]{8}")
_NAME_MAX = 255
# A FIFO opened for reading would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Live(Record, frozen=True):
    """The generation a reader sees now."""

    number: int
    folder: str


class Staged(Record, frozen=True):
    """A whole generation that no reader sees yet; `path` is where a check may look at it."""

    number: int
    folder: str
    path: Path
    names: tuple[str, ...]


class Publisher:
    """One app's directory, held by a descriptor; what raises CannotWrite leaves the live files whole.

    As in Kubernetes' AtomicWriter, `DIR/..data` is a link to the live folder `..lessee-NUMBER-RANDOM`, and `DIR/NAME`
    one to `..data/NAME`: who watches its volumes watches ours.
    """

    def __init__(self, directory: Path, *, owner: tuple[int | None, int | None], mode: int, allow_disk: bool) -> None:
        """Open `directory`, or make it. `mode` is the files' mode; the directory's own follows from it."""
        self._path = directory.absolute()
        self._owner = owner
        self._mode = mode
        uid, gid = owner
        self._fd = open_directory(directory, make=(_folder_mode(mode), uid, gid))
        try:
            self._memory = is_memory(self._fd)
            if not allow_disk:
                refuse_disk(self._fd, directory)
            refuse_strangers(self._fd, directory, uid=uid, gid=gid)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory; the files stay."""
        os.close(self._fd)

    def recover(self) -> Live | None:
        """Sweep what a killed agent left, put the links right, and tell what is live."""
        with cannot_write(self._path):
            live = self.live()
            for entry in entries(self._fd):
                if entry.startswith(_OURS) and (live is None or entry != live.folder):
                    self._remove(entry)
            names = self._names(live)
            self._link(names)
            self._unlink_others(names)
            return live

    def read(self) -> dict[str, bytes]:
        """Give the live files' bytes by name; none where nothing is live."""
        with cannot_write(self._path):
            live = self.live()
            if live is None:
                return {}
            with opened(live.folder, self._fd) as folder:
                return {name: _content(name, folder) for name in entries(folder)}

    def stage(self, generation: Generation) -> Staged | None:
        """Write the whole generation beside the live one; None where the live one is the same already."""
        names = tuple(file.name for file in generation.files)
        with cannot_write(self._path):
            _refuse_names(names, self._path)
            live = self.live()
            if live is not None and self._same(live, generation):
                return None
            _refuse_folders(names, self._fd, self._path)
            number = live.number + 1 if live else 1
            folder = f"{_OURS}{number}-{os.urandom(4).hex()}"
            try:
                self._fill(folder, generation)
            except BaseException:
                self._remove(folder)
                raise
            return Staged(number, folder, self._path / folder, names)

    def swap(self, staged: Staged) -> Live:
        """Make the staged generation the live one; on a failure it is discarded."""
        with cannot_write(self._path):
            live = self.live()
            try:
                os.stat(staged.folder, dir_fd=self._fd, follow_symlinks=False)
                # All that takes room comes before the one moment: it cannot fail half-way.
                self._remove(_TURN)
                self._link(staged.names)
                os.symlink(staged.folder, _TURN, dir_fd=self._fd)
                os.rename(_TURN, _LIVE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            except BaseException:
                self._remove(_TURN)
                self._remove(staged.folder)
                self._unlink_others(self._names(live))
                raise
            if not self._memory:
                os.fsync(self._fd)
            self._unlink_others(staged.names)
            return Live(staged.number, staged.folder)

    def discard(self, staged: Staged) -> None:
        """Remove a staged generation that is not to be seen."""
        with cannot_write(self._path):
            self._remove(staged.folder)

    def prune(self, up_to: int) -> None:
        """Remove the generations up to this number that are not live."""
        with cannot_write(self._path):
            live = self.live()
            for entry in entries(self._fd):
                match = _FOLDER.fullmatch(entry)
                if live and match and entry != live.folder and int(match[1]) <= min(up_to, live.number):
                    self._remove(entry)

    def withdraw(self) -> None:
        """Take the live generation out of its readers' sight in one step, then remove every trace of it."""
        with cannot_write(self._path):
            if self.live() is not None:
                os.unlink(_LIVE, dir_fd=self._fd)
                os.fsync(self._fd)
            self.recover()

    def live(self) -> Live | None:
        """Tell what a reader sees now; None where there is nothing."""
        try:
            target = os.readlink(_LIVE, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError:
            target = "no link"
        match = _FOLDER.fullmatch(target)
        if match is None:
            what = f"{_LIVE} is not lessee's ({target})"
            raise CannotWrite(what, where=str(self._path), todo="give lessee a directory of its own")
        with suppress(FileNotFoundError), opened(target, self._fd):
            return Live(int(match[1]), target)
        return None

    def _names(self, live: Live | None) -> frozenset[str]:
        if live is None:
            return frozenset()
        with opened(live.folder, self._fd) as folder:
            return entries(folder)

    def _same(self, live: Live, generation: Generation) -> bool:
        with opened(live.folder, self._fd) as folder:
            if entries(folder) != {file.name for file in generation.files}:
                return False
            return all(_stands(file, folder) for file in generation.files)

    def _fill(self, folder: str, generation: Generation) -> None:
        os.mkdir(folder, 0o700, dir_fd=self._fd)
        with opened(folder, self._fd) as fd:
            for file in generation.files:
                _write(file, file.name, fd, where=self._path, sync=not self._memory)
            own(fd, *self._owner, where=self._path)
            os.fchmod(fd, _folder_mode(self._mode, *(file.mode for file in generation.files)))
            if not self._memory:
                os.fsync(fd)
                os.fsync(self._fd)

    def _is_ours(self, name: str) -> bool:
        with suppress(OSError):
            return os.readlink(name, dir_fd=self._fd) == f"{_LIVE}/{name}"
        return False

    def _link(self, names: Iterable[str]) -> None:
        """Put our link in the place of whatever stands at a name."""
        _refuse_folders(names, self._fd, self._path)
        for name in [name for name in names if not self._is_ours(name)]:
            os.symlink(f"{_LIVE}/{name}", _TURN, dir_fd=self._fd)
            os.rename(_TURN, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def _unlink_others(self, names: Iterable[str]) -> None:
        for entry in entries(self._fd).difference(names):
            if self._is_ours(entry):
                os.unlink(entry, dir_fd=self._fd)

    def _remove(self, entry: str) -> None:
        with suppress(FileNotFoundError):
            status = os.stat(entry, dir_fd=self._fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(entry, dir_fd=self._fd)
            else:
                os.unlink(entry, dir_fd=self._fd)


def write_plain(directory: Path, generation: Generation) -> None:
    """Write plain files into `directory`, on any disk; each appears whole. Raises CannotWrite, and leaves no halves."""
    names = [file.name for file in generation.files]
    _refuse_names(names, directory)
    fd = open_directory(directory, make=(_folder_mode(*(file.mode for file in generation.files)), None, None))
    waiting: dict[str, str] = {}
    try:
        with cannot_write(directory):
            _refuse_folders(names, fd, directory)
            sync = not is_memory(fd)
            for file in generation.files:
                temporary = f"{_OURS}{os.urandom(4).hex()}"
                waiting[temporary] = file.name
                _write(file, temporary, fd, where=directory, sync=sync)
            for temporary, name in waiting.items():
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    finally:
        for temporary in waiting:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
        os.close(fd)


def _write(file: File, name: str, folder: int, *, where: Path, sync: bool) -> None:
    fd = os.open(name, _CREATE, 0, dir_fd=folder)
    try:
        own(fd, file.uid, file.gid, where=where)
        os.fchmod(fd, file.mode)
        rest = memoryview(file.content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _stands(file: File, folder: int) -> bool:
    uid = os.geteuid() if file.uid is None else file.uid
    gid = os.getegid() if file.gid is None else file.gid
    wanted = (stat.S_IFREG | file.mode, uid, gid, len(file.content))
    # Not opened yet: an app that owns its folder may have put a FIFO or a link there.
    is_now = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
    same = (is_now.st_mode, is_now.st_uid, is_now.st_gid, is_now.st_size) == wanted
    return same and _content(file.name, folder) == file.content


def _content(name: str, folder: int) -> bytes:
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(fd)  # fdopen raises where it is a directory, and leaves the descriptor open.


def _folder_mode(*modes: int) -> int:
    """Give r-x to every class that may read a file, and rwx to the owner: 0440 becomes 0750."""
    folder = 0o700
    for mode in modes:
        folder |= mode & 0o444 | (mode & 0o444) >> 2
    return folder


def _refuse_names(names: Iterable[str], where: Path) -> None:
    for name in names:
        # What begins with `..` is lessee's, as it is Kubernetes' in its volumes.
        bad = name in {"", "."} or name.startswith("..") or not {"/", "\0"}.isdisjoint(name)
        if bad or len(os.fsencode(name)) > _NAME_MAX:
            raise CannotWrite(
                f"{name!r} is no file name of ours",
                where=str(where),
                todo=f"name one file in at most {_NAME_MAX} bytes, without a slash or leading dots",
            )


def _refuse_folders(names: Iterable[str], folder: int, where: Path) -> None:
    for name in names:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise CannotWrite(
                    f"a directory stands at {name}", where=str(where), todo="remove it, or name the file anew"
                )
