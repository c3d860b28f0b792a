"""Opens and reads a source's files: none outside of its directory, none that others may write, none half written."""

import errno
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lessee.core.failures import Kind
from lessee.host.template_files import NoTemplateError, OutsideError, open_any_beneath
from lessee.sources.reader import ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE_SIZE = 1 << 20
"""Bytes: as a Secret of Kubernetes may have at most."""
SETTLING_TIME = 0.05
"""Seconds without a change after which a file counts as written. It exceeds the resolution of a file's times."""
TRIES = 5
"""How often a file is read that changes meanwhile."""
CHANGES = "its files change while they are read; write each, then rename it"
_OTHERS_WRITE = 0o002
_READ_ONLY = 1
"""ST_RDONLY of statvfs(3)."""
_PIECE = 1 << 16

_Signature = tuple[int, int, int, int]


def open_source(directory: str) -> None:
    """Raise ReadError if the directory does not exist, or cannot be opened."""
    try:
        os.close(os.open(directory, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY))
    except OSError as exc:
        raise ReadError(Kind.UNAVAILABLE, f"the directory cannot be opened: {exc.strerror}") from None


@contextmanager
def opened(folder: str, path: str, *, shown: str | None = None) -> "Iterator[int]":
    """A descriptor of a file or directory below the folder. Raises ReadError, which names it."""
    name = shown or path
    try:
        file = open_any_beneath(folder, path)
    except OutsideError:
        raise ReadError(Kind.INVALID, f"{name} is a link that leads out of the directory") from None
    except NoTemplateError as exc:
        raise ReadError(Kind.INVALID, f"{name} is {exc.what}") from None
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise ReadError(Kind.NOT_FOUND, "it does not exist") from None
        raise ReadError(Kind.INVALID, f"{name} cannot be opened: {exc.strerror}") from None
    try:
        yield file
    finally:
        os.close(file)


def refuse_writable(file: int, name: str) -> None:
    """Raise ReadError for what any user may write. The directory of a Secret is so, on a file system that is not."""
    if os.fstat(file).st_mode & _OTHERS_WRITE and not os.fstatvfs(file).f_flag & _READ_ONLY:
        raise ReadError(Kind.INVALID, f"every user of this machine may write to {name}; run chmod o-w")


def refuse_writable_folders(folder: str, path: str) -> None:
    """Raise ReadError if any user may write to a directory on the way to a path, and so replace what is there."""
    parts = path.split("/")[:-1]
    for count in range(len(parts) + 1):
        name = "/".join(parts[:count])
        with opened(folder, name or ".", shown=name or folder) as found:
            refuse_writable(found, name or folder)


def content_of(file: int, name: str) -> bytes | None:
    """The content of a file; None if it changes, or has just changed. Raises ReadError."""
    before = _signature(file)
    if abs(time.time() - before[-1] / 1e9) < SETTLING_TIME:
        return None
    pieces, left = [], MAX_FILE_SIZE + 1
    try:
        while left and (piece := os.read(file, min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
    except OSError as exc:
        raise ReadError(Kind.PATH_ERROR, f"{name} cannot be read: {exc.strerror}") from None
    if not left:
        raise ReadError(Kind.INVALID, f"{name} is larger than {MAX_FILE_SIZE >> 20} MiB")
    return b"".join(pieces) if _signature(file) == before else None


def _signature(file: int) -> _Signature:
    status = os.fstat(file)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
