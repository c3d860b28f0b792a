"""Reads and atomically replaces files of the user, and refuses if another program changed one meanwhile."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import translate_write_errors
from lessee.host.locks import take_lock

_MAX_SIZE = 1 << 24


class UserFile(ImmutableStruct, frozen=True):
    """The file as it was read. `path` is as the operator wrote it; `real` is without symbolic links."""

    hidden = ("content",)

    path: Path
    real: Path
    content: bytes
    status: os.stat_result

    @property
    def text(self) -> str:
        """The content as text. Raises ConfigError if it is empty or not UTF-8."""
        try:
            text = self.content.decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid(self.path, "the file is not UTF-8 text") from None
        if not text.strip("\ufeff \t\r\n"):
            raise _invalid(self.path, "the file is empty")
        return text

    def check_writable(self) -> None:
        """Raises WriteError if `replace` would fail."""
        where, mode = str(self.real), self.status.st_mode
        if not mode & 0o222 or not os.access(self.real, os.W_OK):
            raise WriteError("the file is read-only", where=where, todo="make it writable: `chmod u+w`")
        if self.status.st_nlink > 1:
            what = "the file has another hard link, which would keep the old content"
            raise WriteError(what, where=where, todo="remove the other link, or replace it by a copy")
        if self.status.st_uid != os.geteuid() != 0:
            raise WriteError("the file belongs to another user", where=where, todo="run this command as that user")
        if not os.access(self.real.parent, os.W_OK):
            raise WriteError("the directory is read-only", where=where, todo="make the directory writable")

    def replace(self, content: bytes, staging: Path | None = None) -> None:
        """Replace the content; keeps mode, owner and symbolic links. Raises WriteError, and then changes nothing.

        `staging`: the folder of the incomplete copy, which a killed run leaves there.
        """
        self.check_unchanged()
        replace_all([(self, content)], staging)

    def check_unchanged(self) -> None:
        """Raises WriteError if the path has another file, or the file another content, than was read."""
        with translate_write_errors(self.path):
            current = self.real.stat()
            same = (current.st_dev, current.st_ino) == (self.status.st_dev, self.status.st_ino)
            if same and self.path.resolve() == self.real and self.real.read_bytes() == self.content:
                return
        todo = "lessee did not change it; close the program that writes it, and run this command again"
        raise WriteError("another program changed the file meanwhile", where=str(self.path), todo=todo)


def replace_all(changes: Iterable[tuple[UserFile, bytes]], staging: Path | None = None) -> None:
    """Replace the contents of files, each by one rename; owner, mode and attributes stay.

    Raises WriteError, and then changes nothing, unless a rename fails after another one.
    """
    changes = tuple(changes)
    with ExitStack() as stack:
        staged = [
            stack.enter_context(_staged_file(file.real, content, file.status, staging=staging))
            for file, content in changes
        ]
        for file, _ in changes:
            file.check_unchanged()
        for new, (file, _) in zip(staged, changes, strict=True):
            with translate_write_errors(file.real):
                new.replace(file.real)


@contextmanager
def open_user_file(path: Path, command: str) -> Iterator[UserFile]:
    """Read the file, and lock it against other runs of this command (`lessee mcp wrap`).

    Raises ConfigError or WriteError.
    """
    try:
        real = path.resolve(strict=True)
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, RuntimeError, ValueError) as exc:
        reason = (isinstance(exc, OSError) and exc.strerror) or "the path is invalid"
        raise _invalid(path, f"the file cannot be read: {reason}") from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise _invalid(path, "not a regular file")
    with os.fdopen(fd, "rb") as file:
        if status.st_size > _MAX_SIZE:
            raise _invalid(path, f"the file is larger than {_MAX_SIZE >> 20} MiB")
        if not take_lock(fd):
            what = f"another `{command}` is processing the file"
            raise WriteError(what, where=str(path), todo="wait until it has ended")
        yield UserFile(path, real, file.read(), status)


def write_file(path: Path, content: bytes, *, mode: int = 0o600, folder_mode: int = 0o700) -> None:
    """Write a file atomically. An existing file keeps its mode and owner. Raises WriteError.

    `mode` is that of a new file, and `folder_mode` that of new folders.
    """
    with translate_write_errors(path):
        _make_folder(path.parent, folder_mode)
    real = path.resolve()
    status = real.stat() if real.exists() else None
    with _staged_file(real, content, status, mode) as staged:
        staged.replace(real)


def write_beneath(
    folder: Path,
    name: str,
    content: bytes,
    *,
    mode: int = 0o600,
    folder_mode: int = 0o700,
    staging: Path | None = None,
) -> None:
    """As `write_file`, but `name` is below the folder, and no part of it may be a symbolic link. Raises WriteError."""
    where = folder / name
    with open_beneath(folder, name, make=folder_mode) as parent, translate_write_errors(where):
        assert parent is not None
        real = parent / where.name
        status = real.lstat() if os.path.lexists(real) else None
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise WriteError("not a regular file", where=str(where), todo="remove it")
        with _staged_file(real, content, status, mode, where, staging) as staged:
            staged.replace(real)


def _make_folder(folder: Path, mode: int) -> None:
    """Make the folder and its missing parents with this mode, whatever the umask is. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        try:
            one.mkdir(mode=0o700)
        except FileExistsError:  # Another program has made it meanwhile.
            if not one.is_dir():
                raise
        else:
            one.chmod(mode)


@contextmanager
def open_beneath(folder: Path, name: str, *, make: int | None = None) -> Iterator[Path | None]:
    """The directory of a file that is `name` below the folder, by its descriptor: nothing can replace it meanwhile.

    `make`: the mode of missing directories; without it, a missing one gives None. Raises WriteError where
    the path leads out of the folder, or through a symbolic link below it.
    """
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise WriteError(f"the path {name!r} leads out of the folder", where=str(folder))
    place = folder
    with translate_write_errors(folder / name), ExitStack() as stack:
        current = _opened(folder, None, stack)
        for part in parts[:-1]:
            place /= part
            if place.is_symlink():
                what = "a symbolic link, which lessee does not follow here"
                raise WriteError(what, where=str(place), todo="replace it by a directory")
            try:
                current = _opened(part, current, stack)
            except FileNotFoundError:
                if make is None:
                    yield None
                    return
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=current)
                current = _opened(part, current, stack)
                os.fchmod(current, make)  # mkdir's mode is subject to the umask.
        yield Path(f"/proc/self/fd/{current}")


def symbolic_links(path: Path) -> Iterator[Path]:
    """Each symbolic link below the path, or the path itself if it is one."""
    below = (Path(place, name) for place, *lists in os.walk(path) for names in lists for name in names)
    return (one for one in chain([path], below) if one.is_symlink())


def _opened(name: Path | str, folder: int | None, stack: ExitStack) -> int:
    follow = 0 if folder is None else os.O_NOFOLLOW
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=folder)
    stack.callback(os.close, fd)
    return fd


@contextmanager
def _staged_file(
    real: Path,
    content: bytes,
    like: os.stat_result | None,
    mode: int = 0o600,
    where: Path | None = None,
    staging: Path | None = None,
) -> Iterator[Path]:
    """A complete temporary file, for the caller to rename. Removed if it is not renamed.

    It is in the same directory, or in `staging` if that is an existing one of the same file system.
    """
    with translate_write_errors(where or real):
        is_elsewhere = staging is not None and staging.is_dir() and staging.stat().st_dev == real.parent.stat().st_dev
        staged = (staging if staging is not None and is_elsewhere else real.parent) / f".{real.name}.lessee"
        staged.unlink(missing_ok=True)  # A killed run may have left it.
        try:
            fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                if like is not None:
                    _copy_metadata(fd, real, like)
                else:
                    os.fchmod(fd, mode)
                file.write(content)
                file.flush()
                os.fsync(fd)
            yield staged
            sync_folder(real.parent)
        finally:
            staged.unlink(missing_ok=True)


def _copy_metadata(fd: int, real: Path, like: os.stat_result) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))
    for name in os.listxattr(real):  # Access control lists and SELinux labels.
        with suppress(OSError):
            os.setxattr(fd, name, os.getxattr(real, name))


def sync_folder(directory: Path) -> None:
    """Wait until the names in the directory are on the disk. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _invalid(path: Path, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(path))])
