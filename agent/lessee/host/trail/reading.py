"""Reads a trail, as whoever looks for alterations must: without changing anything, and while others write."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.errors import LesseeError, UsageError
from lessee.core.trail.names import HEAD, NEW, PUBLIC, first_of, order
from lessee.core.trail.verifying import Line
from lessee.host.directories import entries

LARGEST_LINE = 64 * 1024
"""Bytes. None of ours is as long."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Trail:
    """A trail's folder, open for reading. No entry is added meanwhile."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd
        self.segments = segments(fd)
        self.strangers = tuple(
            sorted(name for name in entries(fd) if first_of(name) is None and name not in {HEAD, NEW, PUBLIC})
        )

    @property
    def is_empty(self) -> bool:
        """Nothing was ever written, or all is gone."""
        return not self.segments and self.small(HEAD) is None

    def small(self, name: str) -> bytes | None:
        """What is in the head or the public key; None where there is none."""
        with suppress(OSError), opened(self._fd, name) as fd:
            return os.read(fd, LARGEST_LINE)
        return None

    def lines(self) -> Iterator[Line]:
        """All of them, in their order. Raises LesseeError where a file cannot be read."""
        for name in self.segments:
            try:
                with opened(self._fd, name) as fd, open(fd, "rb", closefd=False) as stream:
                    number = 0
                    while text := stream.readline(LARGEST_LINE):
                        number += 1
                        yield Line(name, number, text)
            except OSError as exc:
                where = str(self._path / name)
                raise LesseeError(f"a file of the trail cannot be read: {exc.strerror}", where=where) from None


@contextmanager
def reading(path: Path) -> Iterator[Trail]:
    """Raises UsageError where there is no such folder, or it may not be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise UsageError(f"the trail cannot be read: {exc.strerror}", where=str(path)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield Trail(path, fd)
    finally:
        os.close(fd)


def segments(fd: int) -> tuple[str, ...]:
    """The files with entries in this folder, in their order."""
    return tuple(sorted((name for name in entries(fd) if first_of(name) is not None), key=order))


@contextmanager
def opened(folder: int, name: str) -> Iterator[int]:
    """Raises OSError, also where it is no file."""
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is no file")
        yield fd
    finally:
        os.close(fd)
