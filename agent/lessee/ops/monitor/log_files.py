"""Finds and reads the files of an audit log: the current one and the rotated ones."""

import errno
import gzip
import os
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from lessee.ops.monitor.policy.cursor import File

FIRST_ENTRY_WITHIN = 1 << 22
"""Bytes in which a file must have its first audit entry."""
READ_ERRORS = (OSError, EOFError, zlib.error)
"""The errors of reading a file."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # A FIFO would hang without O_NONBLOCK.
_COMPRESSED = ".gz"
_DATED = r"[-._][0-9][-._0-9TZ:]*"
_ATTEMPTS = 50
_SETTLE = 0.002
"""Seconds to wait for a rotation to finish."""


class _Timed(msgspec.Struct):
    time: datetime


_timed = msgspec.json.Decoder(_Timed).decode


def files_of(path: Path) -> list[File]:
    """All readable files of the log. If the current file is not readable, opening it gives the reason."""
    found: list[File] = []
    for _ in range(_ATTEMPTS):
        # Listing a folder while a rotation renames files in it may miss one.
        before, listed = _changed_at(path.parent), _listed(path)
        inspected = [(name, inspect(path.with_name(name))) for name in listed]
        found = [file for _, file in inspected if file is not None]
        moved = any(file is not None and file.inode != listed[name] for name, file in inspected)
        if not moved and _listed(path) == listed and _changed_at(path.parent) == before:
            break
        time.sleep(_SETTLE)
    # Several links to a file count once.
    return list({(file.device, file.inode): file for file in reversed(found)}.values())


def _listed(path: Path) -> dict[str, int]:
    """The names of the log's files, and their inodes."""
    try:
        with os.scandir(path.parent) as entries:
            return {entry.name: entry.stat().st_ino for entry in entries if belongs_to(path.name, entry.name)}
    except OSError:
        return {}


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def belongs_to(log: str, name: str) -> bool:
    """Whether a file of this name may be a file of the log, such as `audit.log.1`,
    `audit.log-20270101.gz`, `audit-20270101.log`.
    """
    if name == log or name.startswith((f"{log}.", f"{log}-", f"{log}_")):
        return True
    stem, dot, suffix = log.rpartition(".")
    return bool(dot and re.fullmatch(rf"{re.escape(stem)}{_DATED}\.{re.escape(suffix)}(?:\.gz)?", name))


def inspect(path: Path) -> File | None:
    """The file's current state, or None if it is missing or not readable."""
    is_compressed = path.name.endswith(_COMPRESSED)
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            return File(path.name, status.st_dev, status.st_ino, status.st_size, first_time(file), is_compressed)
    except READ_ERRORS:
        return None


def open_file(path: Path) -> BinaryIO:
    """Open a file to read its uncompressed content. Raises OSError."""
    if path.name.endswith(_COMPRESSED):
        if not path.is_file():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))  # A FIFO would hang.
        return cast("BinaryIO", gzip.open(path))
    return open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, _READ))


class Content:
    """The uncompressed content of a file. A compressed file can only be read forward."""

    def __init__(self, file: BinaryIO, *, is_compressed: bool) -> None:
        self._file, self._is_compressed = file, is_compressed
        self._buffer, self._start = b"", 0

    def at(self, position: int, size: int) -> bytes:
        """Up to `size` bytes from a position."""
        if not self._is_compressed:
            return os.pread(self._file.fileno(), size, position)
        if position > self._start + len(self._buffer):
            self._file.seek(position)
            self._buffer, self._start = b"", position
        self._buffer, self._start = self._buffer[position - self._start :], position
        while len(self._buffer) < size and (more := self._file.read(size - len(self._buffer))):
            self._buffer += more
        return self._buffer[:size]

    def close(self) -> None:
        self._file.close()


def first_time(file: BinaryIO) -> float | None:
    """The time of the first audit entry. Other lines may precede it."""
    for line in _lines(file):
        start = line.find(b"{")
        with suppress(msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            return _timed(line[max(start, 0) :]).time.timestamp()
    return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines that end within FIRST_ENTRY_WITHIN bytes."""
    text, size, left = b"", 1 << 14, FIRST_ENTRY_WITHIN
    while left > 0 and (more := file.read(size)):
        *lines, text = (text + more).split(b"\n")
        yield from lines
        left, size = left - len(more), size * 2
