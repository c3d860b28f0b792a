"""A client's file: read once, kept, and replaced in one step if nobody has changed it meanwhile."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import cannot_write

_LARGEST = 1 << 24


class Original(ImmutableStruct, frozen=True):
    """The file as it was read. `path` is as it was named, `real` where the links lead."""

    hidden = ("content",)

    path: Path
    real: Path
    content: bytes
    status: os.stat_result

    @property
    def text(self) -> str:
        """Raises ConfigError."""
        try:
            text = self.content.decode("utf-8")
        except UnicodeDecodeError:
            raise _unreadable(self.path, "is not UTF-8 text") from None
        if not text.strip("\ufeff \t\r\n"):
            raise _unreadable(self.path, "is empty")
        return text

    def refuse_unwritable(self) -> None:
        """Before anything else is done. Raises WriteError."""
        where, mode = str(self.real), self.status.st_mode
        if not mode & 0o222 or not os.access(self.real, os.W_OK):
            raise WriteError("it is read-only", where=where, todo="make it writable: `chmod u+w`")
        if self.status.st_nlink > 1:
            what = "it has another name (a hard link), under which the secrets would stay"
            raise WriteError(what, where=where, todo="remove that one, or copy the file over itself")
        if self.status.st_uid != os.geteuid() != 0:
            raise WriteError("it is another user's", where=where, todo="run it as that user")
        if not os.access(self.real.parent, os.W_OK):
            raise WriteError("its folder is read-only", where=where, todo="make the folder writable")

    def replace(self, text: str) -> None:
        """Keeps mode, owner and the links that lead to it. Raises WriteError, and leaves all as it was."""
        self._refuse_changed()
        with _staged(self.real, text, self.status) as staged:
            self._refuse_changed()
            staged.replace(self.real)

    def _refuse_changed(self) -> None:
        with cannot_write(self.path):
            there = self.real.stat()
            same = (there.st_dev, there.st_ino) == (self.status.st_dev, self.status.st_ino)
            if same and self.path.resolve() == self.real and self.real.read_bytes() == self.content:
                return
        todo = "nothing in it was touched; close the client that writes it, and run this again"
        raise WriteError("somebody has changed it meanwhile", where=str(self.path), todo=todo)


@contextmanager
def opened(path: Path) -> Iterator[Original]:
    """Nobody else wraps it meanwhile. Raises ConfigError or WriteError."""
    try:
        real = path.resolve(strict=True)
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, RuntimeError, ValueError) as exc:
        reason = (isinstance(exc, OSError) and exc.strerror) or "no file can be called so"
        raise _unreadable(path, f"cannot be read: {reason}") from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise _unreadable(path, "is no file")
    with os.fdopen(fd, "rb") as file:
        if status.st_size > _LARGEST:
            raise _unreadable(path, f"is larger than {_LARGEST >> 20} MiB")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WriteError("somebody else is at it", where=str(path), todo="let them end") from None
        yield Original(path, real, file.read(), status)


def keep(original: Original, folder: Path) -> Path:
    """A copy that the owner alone can read, in a folder that they alone can enter; one of the same is not made twice.

    Raises WriteError.
    """
    mark = hashlib.sha256(os.fsencode(original.real) + b"\0" + original.content).hexdigest()[:12]
    place = folder / f"{original.real.name}.{mark}"
    with cannot_write(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.is_symlink() or not place.exists() or place.read_bytes() != original.content:
            _write(place, original.content, 0o600)
        place.chmod(0o600)
    return place


def write(path: Path, text: str) -> None:
    """A file of ours, which appears whole; one that is there keeps mode and owner. Raises WriteError."""
    with cannot_write(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    real = path.resolve()
    status = real.stat() if real.exists() else None
    with _staged(real, text, status) as staged:
        staged.replace(real)


@contextmanager
def _staged(real: Path, text: str, like: os.stat_result | None) -> Iterator[Path]:
    """A whole file beside it, to be renamed; it is gone afterwards."""
    staged = real.with_name(f".{real.name}.lessee")
    with cannot_write(real):
        staged.unlink(missing_ok=True)  # Of one that was killed.
        try:
            fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                if like is not None:
                    _resemble(fd, real, like)
                file.write(text.encode())
                file.flush()
                os.fsync(fd)
            yield staged
            _sync(real.parent)
        finally:
            staged.unlink(missing_ok=True)


def _resemble(fd: int, real: Path, like: os.stat_result) -> None:
    here = os.fstat(fd)
    if (here.st_uid, here.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))
    for name in os.listxattr(real):  # Access lists, and what SELinux wants to know.
        with suppress(OSError):
            os.setxattr(fd, name, os.getxattr(real, name))


def _write(place: Path, content: bytes, mode: int) -> None:
    staged = place.with_name(f".{place.name}.new")
    staged.unlink(missing_ok=True)
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    staged.replace(place)
    _sync(place.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unreadable(path: Path, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(path))])
