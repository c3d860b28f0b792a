"""Private folders in memory, which this process removes at its end, or the next one after a kill."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.errors import LesseeError

MEMORY = Path("/dev/shm")  # noqa: S108  # A private directory is created in it.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEFTOVER_AGE = 60.0
"""Seconds."""


@contextmanager
def private_folder(prefix: str, *, in_memory: bool = False) -> Iterator[Path]:
    """A new folder of mode 0700 whose name has this prefix, on tmpfs if possible.

    It first removes the folders of this prefix that killed processes of this user left. `in_memory`: raises LesseeError
    without a writable tmpfs.
    """
    is_memory = os.access(MEMORY, os.W_OK)
    if in_memory and not is_memory:
        raise LesseeError("no writable tmpfs", where=str(MEMORY), todo="mount one there")
    place = MEMORY if is_memory else Path(tempfile.gettempdir())
    _remove_leftovers(place, prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as name, _held(name):
        yield Path(name)


@contextmanager
def _held(folder: str) -> Iterator[None]:
    """Hold the folder's lock, which the kernel releases however this process ends."""
    fd = os.open(folder, _FOLDER)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _remove_leftovers(place: Path, prefix: str) -> None:
    for path in place.glob(f"{prefix}*"):
        with suppress(OSError):
            fd = os.open(path, _FOLDER)
            try:
                status = os.fstat(fd)
                # A folder is locked just after it is made.
                if status.st_uid == os.geteuid() and status.st_mtime < time.time() - _LEFTOVER_AGE:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)
