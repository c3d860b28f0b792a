"""Shows a generation to an app's readers in one step."""

import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from lessee.config.fallback import MARKER
from lessee.core.errors import WriteError
from lessee.core.generation import File, Generation
from lessee.core.immutable import Record
from lessee.host.directories import cannot_write, entries, open_directory, opened, own, refuse_strangers
from lessee.host.mounts import is_memory, refuse_disk
from lessee.publishing.generations import OURS, folder_mode, read, refuse_folders, refuse_names, stand, write

_LIVE = "..data"
_TURN = f"{OURS}link"
_FOLDER = re.compile(r"\.\.lessee-([0-9]+)-[0-9a-f]{8}")


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
    """One app's directory, held by a descriptor; what raises WriteError leaves the live files whole.

    As in Kubernetes' AtomicWriter, `DIR/..data` is a link to the live folder `..lessee-NUMBER-RANDOM`, and `DIR/NAME`
    one to `..data/NAME`: who watches its volumes watches ours.
    """

    def __init__(self, directory: Path, *, owner: tuple[int | None, int | None], mode: int, allow_disk: bool) -> None:
        """Open `directory`, or make it. `mode` is the files' mode; the directory's own follows from it."""
        self._path = directory.absolute()
        self._owner = owner
        self._mode = mode
        self._given = 0
        uid, gid = owner
        self._fd = open_directory(directory, make=(folder_mode(mode), uid, gid))
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

    def recover(self, keep: Collection[int] = ()) -> Live | None:
        """Sweep what a killed agent left, but for generations to `keep`; put the links right, and tell what is live."""
        with cannot_write(self._path):
            live = self.live()
            spared = [folder for number, folder in self._folders().items() if number in keep]
            if live is not None:
                spared.append(live.folder)
            for entry in entries(self._fd):
                if entry.startswith(OURS) and entry not in spared:
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
                return {name: read(name, folder) for name in entries(folder)}

    def stage(self, generation: Generation, *, anew: bool = False) -> Staged | None:
        """Write the whole generation beside the live one; None where the live one is the same already.

        `anew`: never mind that. No number is given twice, nor is one that a generation on the disk has.
        """
        names = tuple(file.name for file in generation.files)
        with cannot_write(self._path):
            refuse_names(names, self._path)
            live = self.live()
            if live is not None and not anew and self._same(live, generation):
                return None
            refuse_folders(names, self._fd, self._path)
            self._given = number = max(self._given, *self._folders(), 0) + 1
            folder = f"{OURS}{number}-{os.urandom(4).hex()}"
            try:
                self._fill(folder, generation)
            except BaseException:
                self._remove(folder)
                raise
            return Staged(number, folder, self._path / folder, names)

    def swap(self, staged: Staged) -> Live:
        """Make the staged generation the live one; on a failure it is discarded."""
        with cannot_write(self._path):
            try:
                self._show(staged.folder, staged.names)
            except BaseException:
                self._remove(staged.folder)
                raise
            return Live(staged.number, staged.folder)

    def roll_back(self, number: int) -> Live:
        """Make the generation of this number, which was live before, the live one again; on a failure it stays."""
        with cannot_write(self._path):
            folder = self._folders().get(number)
            if folder is None:
                what = f"generation {number} is not there any more"
                raise WriteError(what, where=str(self._path), todo="the next one will take the place of the live one")
            earlier = Live(number, folder)
            self._show(folder, self._names(earlier))
            return earlier

    def discard(self, staged: Staged) -> None:
        """Remove a staged generation that is not to be seen."""
        with cannot_write(self._path):
            self._remove(staged.folder)

    def prune(self, numbers: Collection[int]) -> None:
        """Remove the generations of these numbers, but never the live one."""
        with cannot_write(self._path):
            live = self.live()
            for number, folder in self._folders().items():
                if number in numbers and (live is None or folder != live.folder):
                    self._remove(folder)

    def mark(self, content: bytes | None) -> None:
        """Let `.degraded` stand beside the files, where everybody who may enter can read it; None: let it go."""
        with cannot_write(self._path):
            if content is None:
                if self.is_marked():
                    os.unlink(MARKER, dir_fd=self._fd)
                return
            refuse_folders([MARKER], self._fd, self._path)
            temporary = f"{OURS}mark"
            self._remove(temporary)
            uid, gid = self._owner
            write(File(MARKER, content, 0o444, uid, gid), temporary, self._fd, where=self._path, sync=not self._memory)
            os.rename(temporary, MARKER, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def is_marked(self) -> bool:
        """Whether `.degraded` stands there."""
        with cannot_write(self._path), suppress(FileNotFoundError):
            return stat.S_ISREG(os.stat(MARKER, dir_fd=self._fd, follow_symlinks=False).st_mode)
        return False

    def marking(self) -> bytes:
        """What `.degraded` says; nothing where there is none."""
        with cannot_write(self._path):
            return read(MARKER, self._fd) if self.is_marked() else b""

    def numbers(self) -> Collection[int]:
        """Of the generations that stand there, whether readers see them or not."""
        with cannot_write(self._path):
            return self._folders().keys()

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
            raise WriteError(what, where=str(self._path), todo="give lessee a directory of its own")
        with suppress(FileNotFoundError), opened(target, self._fd):
            return Live(int(match[1]), target)
        return None

    def _folders(self) -> dict[int, str]:
        found = map(_FOLDER.fullmatch, entries(self._fd))
        return {int(match[1]): match[0] for match in found if match is not None}

    def _show(self, folder: str, names: Collection[str]) -> None:
        live = self.live()
        try:
            os.stat(folder, dir_fd=self._fd, follow_symlinks=False)
            # All that takes room comes before the one moment: it cannot fail half-way.
            self._remove(_TURN)
            self._link(names)
            os.symlink(folder, _TURN, dir_fd=self._fd)
            os.rename(_TURN, _LIVE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except BaseException:
            self._remove(_TURN)
            self._unlink_others(self._names(live))
            raise
        if not self._memory:
            os.fsync(self._fd)
        self._unlink_others(names)

    def _names(self, live: Live | None) -> frozenset[str]:
        if live is None:
            return frozenset()
        with opened(live.folder, self._fd) as folder:
            return entries(folder)

    def _same(self, live: Live, generation: Generation) -> bool:
        with opened(live.folder, self._fd) as folder:
            return stand(generation.files, folder)

    def _fill(self, folder: str, generation: Generation) -> None:
        os.mkdir(folder, 0o700, dir_fd=self._fd)
        with opened(folder, self._fd) as fd:
            for file in generation.files:
                write(file, file.name, fd, where=self._path, sync=not self._memory)
            own(fd, *self._owner, where=self._path)
            os.fchmod(fd, folder_mode(self._mode, *(file.mode for file in generation.files)))
            if not self._memory:
                os.fsync(fd)
                os.fsync(self._fd)

    def _is_ours(self, name: str) -> bool:
        with suppress(OSError):
            return os.readlink(name, dir_fd=self._fd) == f"{_LIVE}/{name}"
        return False

    def _link(self, names: Iterable[str]) -> None:
        """Put our link in the place of whatever stands at a name."""
        refuse_folders(names, self._fd, self._path)
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
