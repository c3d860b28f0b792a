"""Reads an audit trail without changing it, also while others write it."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.audit_trail.policy.file_names import HEAD, NEW_FILE, PUBLIC, first_entry, sort_key
from lessee.audit_trail.policy.verification import Line
from lessee.core.errors import LesseeError, UsageError
from lessee.host.directories import entries

LARGEST_LINE = 64 * 1024
"""Bytes. lessee writes no longer line."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class AuditTrailFiles:
    """An audit trail as it was when it was opened; entries that are added later are ignored."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd
        self.head = self._small(HEAD)
        self.segments = {name: _size(fd, name) for name in segments(fd)}
        self.unknown_files = tuple(
            sorted(name for name in entries(fd) if first_entry(name) is None and name not in {HEAD, NEW_FILE, PUBLIC})
        )

    @property
    def is_empty(self) -> bool:
        """Whether the audit trail was never written, or was removed completely."""
        return not self.segments and self.head is None

    def _small(self, name: str) -> bytes | None:
        """The content of a small file; None if it cannot be read."""
        with suppress(OSError), opened(self._fd, name) as fd:
            return os.read(fd, LARGEST_LINE)
        return None

    def lines(self) -> Iterator[Line]:
        """All lines in order. Raises LesseeError if a file cannot be read."""
        for name, size in self.segments.items():
            try:
                with opened(self._fd, name) as fd, open(fd, "rb", closefd=False) as stream:
                    number, left = 0, size
                    while left > 0 and (text := stream.readline(min(left, LARGEST_LINE))):
                        number, left = number + 1, left - len(text)
                        yield Line(name, number, text)
            except OSError as exc:
                where = str(self._path / name)
                raise LesseeError(f"a file of the audit trail cannot be read: {exc.strerror}", where=where) from None


@contextmanager
def open_audit_trail(path: Path) -> Iterator[AuditTrailFiles]:
    """Open an audit trail for reading. Raises UsageError if the directory cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise UsageError(f"the audit trail cannot be read: {exc.strerror}", where=str(path)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        trail = AuditTrailFiles(path, fd)
        fcntl.flock(fd, fcntl.LOCK_UN)  # So that a long read does not block writers.
        yield trail
    finally:
        os.close(fd)


def segments(fd: int) -> tuple[str, ...]:
    """The files with entries in this directory, in order."""
    return tuple(sorted((name for name in entries(fd) if first_entry(name) is not None), key=sort_key))


def _size(folder: int, name: str) -> int:
    with suppress(OSError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    return 0


@contextmanager
def opened(folder: int, name: str) -> Iterator[int]:
    """Open a file for reading. Raises OSError, also if it is not a regular file."""
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a regular file")
        yield fd
    finally:
        os.close(fd)
