"""Where archives lie: a folder, a bucket, or both."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from lessee.config.grammar.backup import Backup
from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.ops.backup.encryption import CHUNK_SIZE
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.policy.retention import latest_name, parse_name
from lessee.ops.backup.s3 import S3Store

_PART = ".lessee-backup-"
_LOCK = ".lessee-backup.lock"


class Store(Protocol):
    """A place for archives, by name."""

    def where(self, name: str) -> str:
        """As a person may write it."""

    def names(self) -> tuple[str, ...]:
        """Of all that is there, ours or not. Raises WriteError."""

    def put(self, name: str, archive: IO[bytes]) -> None:
        """Keep it whole, or not at all. Raises WriteError."""

    def open(self, name: str) -> IO[bytes] | None:
        """None where there is none. Raises ArchiveError."""

    def remove(self, name: str) -> None:
        """What is not there is no error. Raises WriteError."""


class DirectoryStore:
    """A folder; it is made where its parent is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def where(self, name: str) -> str:
        return str(self.path / name)

    def make(self) -> None:
        """Raises WriteError."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise WriteError(f"the folder cannot be made: {exc.strerror}", where=str(self.path)) from None

    def names(self) -> tuple[str, ...]:
        try:
            return tuple(entry.name for entry in self.path.iterdir() if entry.is_file() and not entry.is_symlink())
        except FileNotFoundError:
            return ()  # It is not made yet, or lost: the bucket may have them.
        except OSError as exc:
            raise WriteError(f"the folder cannot be read: {exc.strerror}", where=str(self.path)) from None

    def put(self, name: str, archive: IO[bytes]) -> None:
        self.make()
        try:
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise WriteError(f"the folder cannot be opened: {exc.strerror}", where=str(self.path)) from None
        part = f"{_PART}{os.getpid()}.part"
        try:
            self._sweep(folder)
            self._write(folder, part, archive)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as exc:
            raise WriteError(f"it cannot be written: {exc.strerror}", where=self.where(name)) from None
        finally:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            os.close(folder)

    def open(self, name: str) -> IO[bytes] | None:
        return open_file(self.path / name)

    def remove(self, name: str) -> None:
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as exc:
            raise WriteError(f"it cannot be removed: {exc.strerror}", where=self.where(name)) from None

    def _write(self, folder: int, part: str, archive: IO[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, 0o600, dir_fd=folder), "wb") as out:  # noqa: PTH123  # A descriptor is no path.
            archive.seek(0)
            while chunk := archive.read(CHUNK_SIZE):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())

    def _sweep(self, folder: int) -> None:
        """What one that was killed has left; the lock keeps those away that still write."""
        for name in os.listdir(folder):
            if name.startswith(_PART):
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)


def stores(config: Backup | None, environ: Mapping[str, str]) -> tuple[Store, ...]:
    """As configured. Raises ConfigError where there are none."""
    found: list[Store] = []
    if config is not None and config.directory is not None:
        found.append(DirectoryStore(Path(config.directory)))
    if config is not None and config.s3 is not None:
        found.append(S3Store(config.s3, environ))
    if not found:
        todo = "write `backup: {directory: DIR}`, or `s3:`"
        raise ConfigError([LesseeError("there is no place for archives", where="backup", todo=todo)])
    return tuple(found)


def open_file(path: Path) -> IO[bytes] | None:
    """None where there is none. Raises ArchiveError."""
    try:
        # A FIFO must not hang us.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ArchiveError(f"it cannot be read: {exc.strerror}", where=str(path)) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ArchiveError("it is no file", where=str(path))
    return open(fd, "rb")  # noqa: PTH123  # As above.


@contextmanager
def found(archive: str, config: Backup | None, environ: Mapping[str, str]) -> Iterator[tuple[IO[bytes], str]]:
    """An archive by its path, by its name in a store, or the `latest` of all; and where it is.

    Raises ArchiveError where there is none.
    """
    if archive != "latest" and (file := open_file(Path(archive))) is not None:
        with file:
            yield file, archive
        return
    if "/" not in archive:
        places = stores(config, environ)
        name = latest_name(name for store in places for name in store.names()) if archive == "latest" else archive
        for store in places:
            if name and parse_name(name) and (file := store.open(name)) is not None:
                with file:
                    yield file, store.where(name)
                return
    raise ArchiveError("there is no such archive", where=archive, todo="name a file, one in a store, or `latest`")


@contextmanager
def save_lock(folder: Path | None) -> Iterator[None]:
    """Nobody else saves there meanwhile; None: without a folder. Raises WriteError where somebody does."""
    path = folder / _LOCK if folder is not None else Path(tempfile.gettempdir()) / f"{_LOCK}-{os.getuid()}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise WriteError(f"the lock cannot be made: {exc.strerror}", where=str(path)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise WriteError("another `lessee backup save` is at work", where=str(path), todo="wait for it") from None
    try:
        yield
    finally:
        os.close(fd)
