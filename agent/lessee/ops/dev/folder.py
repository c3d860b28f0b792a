"""The folder of the server for development: its keys and its storage, for one user and one process at a time."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from lessee.core.errors import LesseeError, UsageError, WriteError
from lessee.host import procfs
from lessee.host.directories import entries, open_directory, translate_write_errors
from lessee.host.locks import take_lock
from lessee.host.ownership import refuse_foreign_writers
from lessee.host.procfs import ProcessIdentity
from lessee.host.user_state import user_state
from lessee.ops.dev.policy.server_config import DATA, SOCKET

LOCK = "lessee-dev.lock"
"""Its presence says that the folder is lessee's. Who holds it runs the server; both have it open."""
STARTED, PROVISIONED = "initializing", "provisioning"
"""Marks: the keys are not all saved, so there is no data; a root token may be left, so the next start ends it."""
TOKEN, RECOVERY_KEY, PORT, LISTEN, LOG = "token", "recovery-key", "port", "listen", "openbao.log"

_MODE = 0o700
_LONGEST_SOCKET = 107
"""Bytes of a socket's path: unix(7)."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST = 64 * 1024
_SETUP_LOCK = "setup.lock"
_BLOCK = 512
"""Bytes of a block in stat(2)."""


class DevFolder:
    """An open folder of mode 0700 that only this user can change. Every write is on disk when it returns.

    Raises WriteError.
    """

    def __init__(self, path: Path, *, make: bool) -> None:
        """`make`: create it, if it does not exist; otherwise that raises FolderMissingError."""
        self.path = path = Path(os.path.abspath(path))  # noqa: PTH100  # Path.absolute keeps `..`.
        _check_socket(path / SOCKET)
        if not make and not os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises for a parent that is not readable.
            raise FolderMissingError(
                "no server for development here", where=str(path), todo="start it with `lessee dev`"
            )
        is_new = not os.path.lexists(path)
        self.fd = open_directory(path, make=(_MODE, None, None))
        self._lock: int | None = None
        try:
            self._check(make=make)
            with translate_write_errors(path):
                os.fchmod(self.fd, _MODE)
                if is_new:
                    self._sync_parent()
        except BaseException:
            os.close(self.fd)
            raise

    def take(self) -> bool:
        """Whether this process has the folder now, until it closes it. It waits some seconds for one that ends."""
        with translate_write_errors(self.path / LOCK):
            fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
        try:
            is_ours = take_lock(fd)
            if is_ours:
                own = procfs.stat(os.getpid())
                with translate_write_errors(self.path / LOCK):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{own.pid} {own.start_ticks}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        if is_ours:
            self._lock = fd
        else:
            os.close(fd)
        return is_ours

    @property
    def is_taken(self) -> bool:
        """Whether this process has the folder."""
        return self._lock is not None

    @property
    def lock(self) -> int:
        """The descriptor of the lock, which the server inherits: the folder is free only after both have ended."""
        assert self._lock is not None
        return self._lock

    def holder(self) -> ProcessIdentity | None:
        """The process that holds the folder; None where none does, or it is not known yet."""
        if not self.is_held():
            return None
        words = (self.read(LOCK) or b"").split()
        with suppress(OSError, ValueError):
            pid, ticks = map(int, words)
            found = procfs.stat(pid)
            return found.identity if found.start_ticks == ticks and not found.has_exited else None
        return None

    def is_held(self) -> bool:
        """Whether another process holds the folder."""
        try:
            fd = os.open(LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # Several may look at it in the same moment.
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(fd)

    def names(self) -> frozenset[str]:
        """The names of all that is in it."""
        return entries(self.fd)

    def has(self, name: str) -> bool:
        """Whether a file or a directory has this name."""
        return name in self.names()

    def read(self, name: str) -> bytes | None:
        """A file's content; None without such a file. Raises LesseeError."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise LesseeError(f"cannot be read: {exc.strerror}", where=str(self.path / name)) from None
        try:
            return os.read(fd, _LARGEST)
        finally:
            os.close(fd)

    def text(self, name: str) -> str:
        """A file's content without surrounding whitespace; empty without such a file."""
        return (self.read(name) or b"").decode("ascii", errors="replace").strip()

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, which then is whole and on disk, or as it was."""
        new = f".{name}.new"
        with translate_write_errors(self.path / name):
            fd = os.open(new, _NEW, 0o600, dir_fd=self.fd)
            try:
                with os.fdopen(os.dup(fd), "wb") as stream:
                    stream.write(content.encode() if isinstance(content, str) else content)
                os.fsync(fd)
            except BaseException:
                os.unlink(new, dir_fd=self.fd)
                raise
            finally:
                os.close(fd)
            os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            os.fsync(self.fd)

    def mark(self, name: str) -> None:
        """Make an empty file."""
        self.write(name, b"")

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with translate_write_errors(self.path / name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
            os.fsync(self.fd)

    def clear(self) -> None:
        """Remove all but the lock, the mark of an unfinished start last: killed halfway, the next start continues."""
        self.mark(STARTED)
        with translate_write_errors(self.path):
            for name in sorted(entries(self.fd) - {LOCK, STARTED}):
                if stat.S_ISDIR(os.lstat(name, dir_fd=self.fd).st_mode):
                    shutil.rmtree(name, dir_fd=self.fd)
                else:
                    os.unlink(name, dir_fd=self.fd)
            os.fsync(self.fd)
        self.remove(STARTED)

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """One process at a time sets up a configuration; the others wait."""
        with translate_write_errors(self.path / _SETUP_LOCK):
            fd = os.open(_SETUP_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def size(self) -> int:
        """Bytes of the storage on disk."""
        return sum(
            (Path(place) / name).lstat().st_blocks * _BLOCK
            for place, _, names in os.walk(self.path / DATA)
            for name in names
        )

    def close(self) -> None:
        """Release the folder. A server that inherited the lock still holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, *, make: bool) -> None:
        where, names = str(self.path), entries(self.fd)
        refuse_foreign_writers(self.fd, self.path, "the directory")
        owner = os.fstat(self.fd).st_uid
        if owner != os.geteuid():
            todo = "name a directory of your own with --directory"
            raise WriteError(f"the directory belongs to uid {owner}", where=where, todo=todo)
        if names and LOCK not in names:
            todo = "name a new or empty directory with --directory"
            raise WriteError("the directory has other files", where=where, todo=todo)
        if not names and not make:
            raise FolderMissingError("no server for development here", where=where, todo="start it with `lessee dev`")

    def _sync_parent(self) -> None:
        parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


class FolderMissingError(LesseeError):
    """There is no server for development."""

    exit_code = 69  # EX_UNAVAILABLE


def default_folder(environ: dict[str, str]) -> Path:
    """The folder of this user's server: `lessee/dev` below $XDG_STATE_HOME."""
    return user_state(environ) / "dev"


def _check_socket(path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        what = f"the path is too long for a Unix socket in it, which takes {_LONGEST_SOCKET} bytes"
        raise UsageError(what, where=str(path.parent), todo="name a shorter one with --directory")
    if urlsplit(f"unix://{path}").path != str(path) or not str(path).isprintable():
        what = "a URL with this path would mean another one"
        raise UsageError(what, where=repr(str(path.parent)), todo="name one without `?`, `#` and control characters")
