"""Reads a trail, as whoever looks for alterations must: without changing anything, and while others write."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.audit_trail.policy.file_names import HEAD, NEW, PUBLIC, first_of, order
from lessee.audit_trail.policy.verification import Line
from lessee.core.errors import LesseeError, UsageError
from lessee.host.directories import entries

LARGEST_LINE = 64 * 1024
"""Bytes. None of ours is as long."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Trail:
    """A trail's folder as it was at one moment; what is added meanwhile is not looked at."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd
        self.head = self._small(HEAD)
        self.segments = {name: _size(fd, name) for name in segments(fd)}
        self.strangers = tuple(
            sorted(name for name in entries(fd) if first_of(name) is None and name not in {HEAD, NEW, PUBLIC})
        )

    @property
    def is_empty(self) -> bool:
        """Nothing was ever written, or all is gone."""
        return not self.segments and self.head is None

    def _small(self, name: str) -> bytes | None:
        """None where there is none."""
        with suppress(OSError), opened(self._fd, name) as fd:
            return os.read(fd, LARGEST_LINE)
        return None

    def lines(self) -> Iterator[Line]:
        """All of them, in their order. Raises LesseeError where a file cannot be read."""
        for name, size in self.segments.items():
            try:
                with opened(self._fd, name) as fd, open(fd, "rb", closefd=False) as stream:
                    number, left = 0, size
                    while left > 0 and (text := stream.readline(min(left, LARGEST_LINE))):
                        number, left = number + 1, left - len(text)
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
        trail = Trail(path, fd)
        fcntl.flock(fd, fcntl.LOCK_UN)  # Nobody who writes waits for who reads.
        yield trail
    finally:
        os.close(fd)


def segments(fd: int) -> tuple[str, ...]:
    """The files with entries in this folder, in their order."""
    return tuple(sorted((name for name in entries(fd) if first_of(name) is not None), key=order))


def _size(folder: int, name: str) -> int:
    with suppress(OSError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    return 0


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
