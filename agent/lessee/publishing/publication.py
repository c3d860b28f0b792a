"""Publishes generations in an app's directory: readers see the next one in a single step."""

import errno
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.config.fallback import MARKER
from lessee.core.errors import WriteError
from lessee.core.generation import FallbackKind, File, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import (
    check_writers,
    chown,
    open_directory,
    open_subdirectory,
    translate_write_errors,
)
from lessee.host.mounts import is_memory, refuse_disk
from lessee.publishing.generations import (
    FOLDER,
    MAX_ENTRIES,
    OWN_PREFIX,
    check_names,
    check_no_directories,
    directory_mode,
    folder_name,
    holds_exactly,
    list_entries,
    list_files,
    open_parent,
    read_file,
    write_file,
    write_folders,
)
from lessee.publishing.sweeper import is_folder, remove_quickly, sweep
from lessee.telemetry.logs import log

_LIVE = "..data"
_TEMPORARY_LINK = f"{OWN_PREFIX}link"
_MAX_MARKER = 4096
_MAX_SHOWN = 80
_QUICK_SWEEP = 0.02
"""Seconds for the removal of leftovers at the start, before the rest is removed in the background."""


FoundOwnership = tuple[int, int, int]
"""The mode, uid and gid of a file or directory."""


class LiveGeneration(ImmutableStruct, frozen=True):
    """The generation that readers see."""

    number: int
    folder: str


class VisibleFiles(ImmutableStruct, frozen=True):
    """What readers of an app's directory must see."""

    hidden = ("files",)

    live: LiveGeneration
    files: tuple[File, ...] | None = None
    """None: only the disk has them yet."""
    folders: Mapping[str, FoundOwnership] = {}
    """The mode, uid and gid of the live folder, by "", and of each folder in it."""
    fallback: FallbackKind | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names of the links in the app's directory."""
        return frozenset(file.name.partition("/")[0] for file in self.files or ())


class StagedGeneration(ImmutableStruct, frozen=True):
    """A complete generation that no reader sees yet; a check may read it at `path`."""

    number: int
    folder: str
    directory: Path
    """The app's."""
    names: frozenset[str]
    """Those of its files and folders that are linked in the app's directory."""

    @property
    def path(self) -> Path:
        """Its folder. It is made where it is read: `pathlib` interns each part, and its table grows by a new name."""
        return self.directory / self.folder


def unusable(
    directory: Path, *, owner: tuple[int | None, int | None], allow_disk: bool, setting: str
) -> WriteError | None:
    """Why a Publisher would refuse this directory, as far as that is known without creating it."""
    there = directory.absolute()
    while not os.path.lexists(there):
        there = there.parent
    try:
        fd = open_directory(there, make=None)
    except WriteError as exc:
        # A process with more capabilities may be permitted what this one is not.
        return None if isinstance(exc.__context__, PermissionError) else exc
    try:
        if not allow_disk:
            refuse_disk(fd, directory, setting)
        if there == directory.absolute():
            check_writers(fd, directory, uid=owner[0], gid=owner[1])
    except WriteError as exc:
        return exc
    finally:
        os.close(fd)
    return None


def ownership(status: os.stat_result) -> FoundOwnership:
    """The mode, uid and gid of a file or directory."""
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


class Publisher:
    """One app's directory, by its descriptor. A method that raises WriteError leaves the live files unchanged.

    As in Kubernetes' AtomicWriter, `DIR/..data` is a link to the live folder `..lessee-NUMBER-RANDOM`, and `DIR/NAME`
    is a link to `..data/NAME`, where NAME is a file, or the first folder of files in folders: `DIR/tls` is a link to
    `..data/tls`. A program that watches Kubernetes' volumes can watch this directory too.
    """

    def __init__(
        self,
        directory: Path,
        *,
        owner: tuple[int | None, int | None],
        mode: int,
        allow_disk: bool,
        key: bytes = b"",
        setting: str = "",
    ) -> None:
        """Open `directory`, or create it. `mode` is the files' mode; the directory's own follows from it.

        `key`: the agent's own, by which it knows its generations later. `setting` names the directory in errors, such
        as `apps.X.directory`.
        """
        self._path = directory.absolute()
        self._owner = owner
        self._mode = mode
        self._key = key
        self._last_number = 0
        uid, gid = owner
        self._fd = open_directory(directory, make=(directory_mode(mode), uid, gid))
        try:
            self._memory = is_memory(self._fd)
            if not allow_disk:
                refuse_disk(self._fd, directory, setting)
            check_writers(self._fd, directory, uid=uid, gid=gid)
            self.ownership: FoundOwnership = ownership(os.fstat(self._fd))
            """The directory's mode, uid and gid, which stay so."""
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """The descriptor of the directory."""
        return self._fd

    @property
    def path(self) -> Path:
        """Where the directory was opened."""
        return self._path

    def close(self) -> None:
        """Close the descriptor; the files stay."""
        os.close(self._fd)

    def restore_ownership(self) -> None:
        """Give the directory the mode and owner that it had when it was opened. Raises WriteError."""
        mode, uid, gid = self.ownership
        try:
            os.fchown(self._fd, uid, gid)
            os.fchmod(self._fd, mode)
        except OSError:
            what = f"the agent (uid {os.geteuid()}) may not restore the directory's mode and owner"
            todo = f"chown {uid}:{gid} {self._path} and chmod {mode:04o} {self._path}, or give the agent CAP_CHOWN"
            raise WriteError(what, where=str(self._path), todo=f"{todo} and CAP_FOWNER") from None

    def ownerships(self, folder: str, files: Iterable[File]) -> Mapping[str, FoundOwnership]:
        """See `VisibleFiles.folders`; right after the generation with these files was published in `folder`."""
        names = {"", *(file.name[:at] for file in files for at, letter in enumerate(file.name) if letter == "/")}
        stats = {name: os.stat(f"{folder}/{name}", dir_fd=self._fd, follow_symlinks=False) for name in names}
        return {name: ownership(status) for name, status in stats.items()}

    def relink(self, names: Collection[str]) -> None:
        """Replace whatever has one of these names by a link to the live file."""
        with translate_write_errors(self._path):
            self._remove(_TEMPORARY_LINK)
            self._link(names, report=False)

    def continue_after(self, number: int) -> None:
        """Give the next generations higher numbers than this."""
        self._last_number = max(self._last_number, number)

    def recover(self, keep: Collection[int] = ()) -> LiveGeneration | None:
        """Remove what a killed agent left, except for the generations `keep`; repair the links; return what is live."""
        with translate_write_errors(self._path):
            live = self.live()
            kept = [folder for number, folder in self._folders().items() if number in keep]
            if live is not None:
                kept.append(live.folder)
            self._sweep(entry for entry in self._entries() if entry.startswith(OWN_PREFIX) and entry not in kept)
            names = self._names(live)
            self._link(names)
            self._unlink_except(names)
            return live

    def read(self) -> dict[str, bytes]:
        """The live files' bytes by name; empty where nothing is live."""
        with translate_write_errors(self._path):
            live = self.live()
            if live is None:
                return {}
            with open_subdirectory(live.folder, self._fd) as folder:
                return {name: self._content(name, folder) for name in list_files(folder)}

    def stage(self, generation: Generation, *, force: bool = False) -> StagedGeneration | None:
        """Write the generation into a folder of its own; None where the live one is equal, unless `force`.

        No number is used twice, and none that a generation on the disk has.
        """
        names = frozenset(file.name.partition("/")[0] for file in generation.files)
        with translate_write_errors(self._path):
            check_names([file.name for file in generation.files], self._path)
            live = self.live()
            if live is not None and not force and self._is_same(live, generation):
                return None
            check_no_directories(names, self._fd, self._path, MAX_ENTRIES)
            self._last_number = number = max(self._last_number, *self._folders(), 0) + 1
            folder = folder_name(number, self._key)
            try:
                self._fill(folder, generation)
            except BaseException:
                self._remove(folder)
                raise
            return StagedGeneration(number, folder, self._path, names)

    def publish(self, staged: StagedGeneration) -> LiveGeneration:
        """Make the staged generation the live one. A failure discards it."""
        with translate_write_errors(self._path):
            try:
                self._activate(staged.folder, staged.names)
            except BaseException:
                self._remove(staged.folder)
                raise
            return LiveGeneration(staged.number, staged.folder)

    def roll_back(self, number: int) -> LiveGeneration:
        """Make an earlier generation the live one again. A failure keeps it."""
        with translate_write_errors(self._path):
            folder = self._folders().get(number)
            if folder is None:
                what = f"generation {number} no longer exists"
                raise WriteError(what, where=str(self._path), todo="the next generation will replace the live one")
            earlier = LiveGeneration(number, folder)
            self._activate(folder, self._names(earlier))
            return earlier

    def discard(self, staged: StagedGeneration) -> None:
        """Remove a staged generation that will not be published."""
        with translate_write_errors(self._path):
            self._remove(staged.folder)

    def prune(self, numbers: Collection[int]) -> None:
        """Remove the generations with these numbers, but never the live one."""
        with translate_write_errors(self._path):
            live = self.live()
            for number, folder in self._folders().items():
                if number in numbers and (live is None or folder != live.folder):
                    self._remove(folder)

    def write_marker(self, content: bytes | None) -> None:
        """Write `.degraded` next to the files, readable by all who may enter the directory; None removes it."""
        with translate_write_errors(self._path):
            if content is None:
                if self.has_marker():
                    os.unlink(MARKER, dir_fd=self._fd)
                return
            check_no_directories([MARKER], self._fd, self._path, MAX_ENTRIES)
            temporary = f"{OWN_PREFIX}mark"
            self._remove(temporary)
            file = File(MARKER, content, 0o444, *self._owner)
            write_file(file, temporary, self._fd, where=self._path, sync=not self._memory)
            os.rename(temporary, MARKER, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def has_marker(self) -> bool:
        """Whether `.degraded` exists."""
        with translate_write_errors(self._path), suppress(FileNotFoundError):
            return stat.S_ISREG(os.stat(MARKER, dir_fd=self._fd, follow_symlinks=False).st_mode)
        return False

    def read_marker(self) -> bytes:
        """The content of `.degraded`; empty where it does not exist."""
        with translate_write_errors(self._path):
            return read_file(MARKER, self._fd, _MAX_MARKER) if self.has_marker() else b""

    def numbers(self) -> Collection[int]:
        """The numbers of all generations on the disk, live or not."""
        with translate_write_errors(self._path):
            return self._folders().keys()

    def withdraw(self) -> None:
        """Take the live generation from its readers in one step, then remove all that belongs to it."""
        with translate_write_errors(self._path):
            if self.live() is not None:
                os.unlink(_LIVE, dir_fd=self._fd)
                os.fsync(self._fd)
            self.recover()

    def live(self) -> LiveGeneration | None:
        """The generation that readers see; None without one."""
        try:
            target = os.readlink(_LIVE, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError:
            target = "not a link"
        match = FOLDER.fullmatch(target)
        if match is None:
            what = f"{_LIVE} does not belong to lessee ({ascii(target[:_MAX_SHOWN])[1:-1]})"
            raise WriteError(what, where=str(self._path), todo="give lessee a directory of its own")
        try:
            with open_subdirectory(target, self._fd):
                return LiveGeneration(int(match[1]), target)
        except OSError as exc:
            if exc.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
                raise
            return None  # An app that owns its directory may have put a file or a link there.

    def _folders(self) -> dict[int, str]:
        matches = map(FOLDER.fullmatch, self._entries())
        return {int(match[1]): match[0] for match in matches if match is not None}

    def _activate(self, folder: str, names: Collection[str]) -> None:
        live = self.live()
        try:
            os.stat(folder, dir_fd=self._fd, follow_symlinks=False)
            # All that takes space precedes the rename, which cannot fail half-way.
            self._remove(_TEMPORARY_LINK)
            self._link(names)
            os.symlink(folder, _TEMPORARY_LINK, dir_fd=self._fd)
            os.rename(_TEMPORARY_LINK, _LIVE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except BaseException:
            self._remove(_TEMPORARY_LINK)
            self._unlink_except(self._names(live))
            raise
        if not self._memory:
            os.fsync(self._fd)
        self._unlink_except(names)

    def _names(self, live: LiveGeneration | None) -> frozenset[str]:
        if live is None:
            return frozenset()
        with open_subdirectory(live.folder, self._fd) as folder:
            names = list_entries(folder, MAX_ENTRIES) or ()
        # An app that owns the folder may have added `..data`, whose link would replace the live one.
        return frozenset(name for name in names if not name.startswith(".."))

    def _is_same(self, live: LiveGeneration, generation: Generation) -> bool:
        with open_subdirectory(live.folder, self._fd) as folder:
            return holds_exactly(generation.files, folder)

    def _fill(self, folder: str, generation: Generation) -> None:
        os.mkdir(folder, 0o700, dir_fd=self._fd)
        with open_subdirectory(folder, self._fd) as fd:
            uid, gid = self._owner
            mode = write_folders(generation.files, fd, uid=uid, gid=gid, where=self._path, sync=not self._memory)
            chown(fd, uid, gid, where=self._path)
            os.fchmod(fd, directory_mode(self._mode, mode))
            if not self._memory:
                os.fsync(fd)
                os.fsync(self._fd)

    def _content(self, name: str, folder: int) -> bytes:
        with open_parent(name, folder) as (parent, last):
            return read_file(last, parent)

    def _is_own_link(self, name: str) -> bool:
        with suppress(OSError):
            return os.readlink(name, dir_fd=self._fd) == f"{_LIVE}/{name}"
        return False

    def _link(self, names: Iterable[str], *, report: bool = True) -> None:
        """Replace whatever has one of the names by a link to the live file, and `report` it."""
        taken = self._entries()
        check_no_directories(names, self._fd, self._path, MAX_ENTRIES)
        for name in names:
            if name not in taken:
                with suppress(FileExistsError):  # It was created meanwhile, and is replaced below.
                    os.symlink(f"{_LIVE}/{name}", name, dir_fd=self._fd)
                    continue
            if not self._is_own_link(name):
                os.symlink(f"{_LIVE}/{name}", _TEMPORARY_LINK, dir_fd=self._fd)
                os.rename(_TEMPORARY_LINK, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
                if report:
                    note = "lessee did not write it; to keep such a file, give the app another `directory`"
                    log("warning", "file replaced", file=str(self._path / name), note=note)

    def _unlink_except(self, names: Iterable[str]) -> None:
        for entry in self._entries().difference(names):
            if self._is_own_link(entry):
                os.unlink(entry, dir_fd=self._fd)

    def _entries(self) -> frozenset[str]:
        """The names in the directory. Raises WriteError if there are too many for a publication to be quick."""
        names = list_entries(self._fd, MAX_ENTRIES)
        if names is None:
            what = f"the directory has more than {MAX_ENTRIES} entries"
            raise WriteError(what, where=str(self._path), todo="remove what does not belong to lessee")
        return names

    def _remove(self, entry: str) -> None:
        """Remove an entry. A folder that the app has filled is removed in the background."""
        with suppress(FileNotFoundError):
            if not is_folder(entry, self._fd):
                os.unlink(entry, dir_fd=self._fd)
            elif not remove_quickly(entry, self._fd):
                sweep([entry], self._fd, self._path)

    def _sweep(self, leftovers: Iterable[str]) -> None:
        """Remove these entries; what takes long, or belongs to another user, in the background."""
        deadline = time.monotonic() + _QUICK_SWEEP
        slow = [entry for entry in leftovers if time.monotonic() >= deadline or not self._is_swept(entry)]
        if slow:
            sweep(slow, self._fd, self._path)

    def _is_swept(self, entry: str) -> bool:
        try:
            if is_folder(entry, self._fd):
                return remove_quickly(entry, self._fd)
            os.unlink(entry, dir_fd=self._fd)
        except OSError:
            return False
        return True
