"""The stores of archives: a directory, a bucket, or both."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from lessee.config.grammar.backup import Backup
from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.host.locks import take_lock
from lessee.host.ownership import foreign_writer
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup.encryption import CHUNK_SIZE
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.s3 import S3Store

_PART = ".lessee-backup-"
_LOCK = ".lessee-backup.lock"


class Store(Protocol):
    """Stores archives by name."""

    def where(self, name: str) -> str:
        """The path or URL of an archive."""

    def names(self) -> tuple[str, ...]:
        """The names of all files, archives or not. Raises WriteError."""

    def put(self, name: str, archive: IO[bytes]) -> None:
        """Store the archive completely or not at all. Raises WriteError."""

    def open(self, name: str) -> IO[bytes] | None:
        """The archive's file, None if it does not exist. Raises ArchiveError."""

    def start(self, name: str) -> IO[bytes] | None:
        """As `open`, for reading only the start of the archive, onward."""

    def remove(self, name: str) -> None:
        """Remove the archive if it exists. Raises WriteError."""


class DirectoryStore:
    """A store in a directory, which is created if its parent exists."""

    def __init__(self, path: Path, progress: Progress = SILENT) -> None:
        self.path = path
        self._progress = progress

    def where(self, name: str) -> str:
        return str(self.path / name)

    def make(self) -> None:
        """Raises WriteError."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise WriteError(f"cannot create the directory: {exc.strerror}", where=str(self.path)) from None

    def names(self) -> tuple[str, ...]:
        try:
            return tuple(entry.name for entry in self.path.iterdir() if entry.is_file() and not entry.is_symlink())
        except FileNotFoundError:
            return ()  # Not created yet, or lost: the bucket may have the archives.
        except OSError as exc:
            raise WriteError(f"cannot read the directory: {exc.strerror}", where=str(self.path)) from None

    def put(self, name: str, archive: IO[bytes]) -> None:
        self.make()
        try:
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise WriteError(f"cannot open the directory: {exc.strerror}", where=str(self.path)) from None
        part = f"{_PART}{os.getpid()}.part"
        try:
            self._sweep(folder)
            self._write(folder, part, archive)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as exc:
            raise WriteError(f"cannot write the archive: {exc.strerror}", where=self.where(name)) from None
        finally:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            os.close(folder)

    def open(self, name: str) -> IO[bytes] | None:
        return open_file(self.path / name, os.O_NOFOLLOW)

    def start(self, name: str) -> IO[bytes] | None:
        return self.open(name)

    def remove(self, name: str) -> None:
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as exc:
            raise WriteError(f"cannot remove the archive: {exc.strerror}", where=self.where(name)) from None

    def _write(self, folder: int, part: str, archive: IO[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, 0o600, dir_fd=folder), "wb") as out:  # noqa: PTH123  # `os.open` gave a descriptor.
            size = archive.seek(0, os.SEEK_END)
            archive.seek(0)
            pieces = iter(lambda: archive.read(CHUNK_SIZE), b"")
            counted: Iterator[bytes] = self._progress.track(pieces, "writing the archive", size, size=len)
            out.writelines(counted)
            out.flush()
            os.fsync(out.fileno())

    def _sweep(self, folder: int) -> None:
        """Remove the partial files of killed runs; the lock excludes running ones."""
        for name in os.listdir(folder):
            if name.startswith(_PART):
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)


def stores(config: Backup | None, environ: Mapping[str, str], progress: Progress = SILENT) -> tuple[Store, ...]:
    """The configured stores. Raises ConfigError if there are none."""
    found: list[Store] = []
    if config is not None and config.directory is not None:
        found.append(DirectoryStore(Path(config.directory), progress))
    if config is not None and config.s3 is not None:
        found.append(S3Store(config.s3, environ, progress))
    if not found:
        todo = "write `backup: {directory: DIR}`, or `s3:`"
        raise ConfigError([LesseeError("no store for archives", where="backup", todo=todo)])
    return tuple(found)


def open_file(path: Path, flags: int = 0) -> IO[bytes] | None:
    """The opened file, None if it does not exist. Raises ArchiveError."""
    try:
        # O_NONBLOCK: opening a FIFO must not block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ArchiveError(f"cannot read the archive: {exc.strerror}", where=str(path)) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ArchiveError("not a regular file", where=str(path))
    return open(fd, "rb")  # noqa: PTH123  # As above.


def _own_directory() -> Path:
    """A directory in which no other user can make the lock file first; without one, the temporary directory."""
    for name in (os.environ.get("XDG_RUNTIME_DIR"), "/run", os.environ.get("HOME")):
        if not name or not os.access(name, os.W_OK | os.X_OK):
            continue
        with suppress(OSError):
            fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if foreign_writer(fd, own=True) is None:
                    return Path(name)
            finally:
                os.close(fd)
    return Path(tempfile.gettempdir())


def _digest(places: Sequence[Store]) -> str:
    """A name for these buckets: saves to others need not wait."""
    addresses = "\n".join(place.address for place in places if isinstance(place, S3Store))
    return hashlib.sha256(addresses.encode()).hexdigest()[:16]


@contextmanager
def save_lock(places: Sequence[Store]) -> Iterator[None]:
    """Hold the lock against other saves to these stores. Raises WriteError if it is taken."""
    folder = folder_of(places)
    path = folder / _LOCK if folder is not None else _own_directory() / f"{_LOCK}-{os.getuid()}-{_digest(places)}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise WriteError(f"cannot create the lock file: {exc.strerror}", where=str(path)) from None
    if not take_lock(fd):
        owner = os.fstat(fd).st_uid
        os.close(fd)
        if owner not in {0, os.geteuid()}:
            what = f"uid {owner} made the lock file, and holds it"
            raise WriteError(what, where=str(path), todo="end that process, and remove the file")
        raise WriteError("another `lessee backup save` is running", where=str(path), todo="wait for it")
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def temporary_archive(folder: Path | None) -> Iterator[IO[bytes]]:
    """A temporary file without a name, for the encrypted archive."""
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # Closed below.
    except OSError as exc:
        raise WriteError(f"cannot create a temporary file: {exc.strerror}", where=str(folder or "")) from None
    try:
        yield file
    finally:
        with suppress(OSError):  # A full disk was reported before.
            file.close()


def folder_of(places: Sequence[Store]) -> Path | None:
    """The directory for temporary files: a store with room for an archive has room for them."""
    return next(
        (place.path for place in places if isinstance(place, DirectoryStore) and os.access(place.path, os.W_OK)), None
    )
