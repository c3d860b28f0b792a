"""Reads and atomically replaces files of the user, and refuses if another program changed one meanwhile."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

    def replace(self, content: bytes) -> None:
        """Replace the content; keeps mode, owner and symbolic links. Raises WriteError, and then changes nothing."""
        self.check_unchanged()
        replace_all([(self, content)])

    def check_unchanged(self) -> None:
        """Raises WriteError if the path has another file, or the file another content, than was read."""
        with translate_write_errors(self.path):
            current = self.real.stat()
            same = (current.st_dev, current.st_ino) == (self.status.st_dev, self.status.st_ino)
            if same and self.path.resolve() == self.real and self.real.read_bytes() == self.content:
                return
        todo = "lessee did not change it; close the program that writes it, and run this command again"
        raise WriteError("another program changed the file meanwhile", where=str(self.path), todo=todo)


def replace_all(changes: Iterable[tuple[UserFile, bytes]]) -> None:
    """Replace the contents of files, each by one rename; owner, mode and attributes stay.

    Raises WriteError, and then changes nothing, unless a rename fails after another one.
    """
    changes = tuple(changes)
    with ExitStack() as stack:
        staged = [stack.enter_context(_staged_file(file.real, content, file.status)) for file, content in changes]
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
def _staged_file(real: Path, content: bytes, like: os.stat_result | None, mode: int = 0o600) -> Iterator[Path]:
    """A complete temporary file in the same directory, for the caller to rename. Removed if it is not renamed."""
    staged = real.with_name(f".{real.name}.lessee")
    with translate_write_errors(real):
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
