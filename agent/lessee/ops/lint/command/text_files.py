"""Reads the files that a check needs, and replaces those that a fix changes, if no other program did meanwhile."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import translate_write_errors

_MAX_SIZE = 1 << 24


class ReadFile(ImmutableStruct, frozen=True):
    """A file as it was read; `real` is its path without symbolic links."""

    hidden = ("content",)

    real: Path
    content: bytes
    status: os.stat_result


class TextFiles:
    """Files by the paths that findings name. Line breaks stay as they are."""

    def __init__(self) -> None:
        self._read: dict[str, ReadFile] = {}

    def text(self, path: str) -> str:
        """The text, read once. Raises ConfigError."""
        if path not in self._read:
            self._read[path] = _read(path)
        try:
            return self._read[path].content.decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid(path, "not UTF-8 text") from None

    def replace(self, texts: Mapping[str, str]) -> None:
        """Replace all files, each by one rename; owner, mode and attributes stay.

        Raises WriteError, and then changes nothing, unless a rename fails after another one.
        """
        staged: list[tuple[Path, Path]] = []
        try:
            for path in texts:
                _check_writable(path, self._read[path])
            for path, text in texts.items():
                staged.append((_staged(path, self._read[path], text), self._read[path].real))
            for path in texts:
                self._check_unchanged(path)
            for new, real in staged:
                with translate_write_errors(real):
                    new.replace(real)
                    _sync(real.parent)
        finally:
            for new, _ in staged:
                new.unlink(missing_ok=True)

    def _check_unchanged(self, path: str) -> None:
        read = self._read[path]
        with translate_write_errors(Path(path)):
            now = read.real.stat()
            same = (now.st_dev, now.st_ino) == (read.status.st_dev, read.status.st_ino)
            if same and Path(path).resolve() == read.real and read.real.read_bytes() == read.content:
                return
        todo = "nothing was written; run this command again"
        raise WriteError("another program changed the file meanwhile", where=path, todo=todo)


def _read(path: str) -> ReadFile:
    try:
        real = Path(path).resolve(strict=True)
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _invalid(path, f"cannot be read: {exc.strerror}") from None
    except (ValueError, RuntimeError):
        raise _invalid(path, "not a valid file name") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _invalid(path, "not a regular file")
        content = file.read(_MAX_SIZE + 1)
    if len(content) > _MAX_SIZE:
        raise _invalid(path, f"it is larger than {_MAX_SIZE >> 20} MiB")
    return ReadFile(real, content, status)


def _check_writable(path: str, read: ReadFile) -> None:
    if not read.status.st_mode & 0o222 or not os.access(read.real, os.W_OK):
        raise WriteError("the file is read-only", where=path, todo="make it writable: `chmod u+w`")
    if read.status.st_nlink > 1:
        what = "the file has another hard link, which would keep the old content"
        raise WriteError(what, where=path, todo="replace the link by a copy")
    if read.status.st_uid != os.geteuid() != 0:
        raise WriteError("the file belongs to another user", where=path, todo="run this command as that user")


def _staged(path: str, read: ReadFile, text: str) -> Path:
    """The complete new file in the same directory."""
    new = read.real.with_name(f".{read.real.name}.lessee")
    with translate_write_errors(Path(path)):
        new.unlink(missing_ok=True)  # A killed run may have left it.
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                status = os.fstat(fd)
                if (status.st_uid, status.st_gid) != (read.status.st_uid, read.status.st_gid):
                    os.fchown(fd, read.status.st_uid, read.status.st_gid)
                os.fchmod(fd, stat.S_IMODE(read.status.st_mode))
                for name in os.listxattr(read.real):  # Access control lists and SELinux labels.
                    with suppress(OSError):
                        os.setxattr(fd, name, os.getxattr(read.real, name))
                file.write(text.encode())
                file.flush()
                os.fsync(fd)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    return new


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _invalid(path: str, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=path)])
