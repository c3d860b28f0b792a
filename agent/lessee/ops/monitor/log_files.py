"""The files of a log: the one that is written, and those that were rotated away."""

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

FIRST_LINE = 1 << 22
"""Bytes in which a file must have a line of a log."""
UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading may raise."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # A FIFO would hang without O_NONBLOCK.
_PACKED = ".gz"
_DATED = r"[-._][0-9][-._0-9TZ:]*"
_TRIES = 50
_SETTLE = 0.002
"""Seconds that a rotation is given to come to an end."""


class _Timed(msgspec.Struct):
    time: datetime


_timed = msgspec.json.Decoder(_Timed).decode


def files_of(path: Path) -> list[File]:
    """All that are there. Those that cannot be read are left out: of the one that is written, opening it tells why."""
    found: list[File] = []
    for _ in range(_TRIES):
        # A folder that is read while a rotation renames in it may leave a file out.
        before, listed = _changed_at(path.parent), _listed(path)
        looks = [(name, look(path.with_name(name))) for name in listed]
        found = [file for _, file in looks if file is not None]
        moved = any(file is not None and file.inode != listed[name] for name, file in looks)
        if not moved and _listed(path) == listed and _changed_at(path.parent) == before:
            break
        time.sleep(_SETTLE)
    # A link to one of them is not another.
    return list({(file.device, file.inode): file for file in reversed(found)}.values())


def _listed(path: Path) -> dict[str, int]:
    """The names of the log's files, and their inodes."""
    try:
        with os.scandir(path.parent) as entries:
            return {entry.name: entry.stat().st_ino for entry in entries if is_of(path.name, entry.name)}
    except OSError:
        return {}


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def is_of(log: str, name: str) -> bool:
    """Whether a file of this name may belong to the log of that one: itself, `audit.log.1`,
    `audit.log-20270101.gz`, `audit-20270101.log`.
    """
    if name == log or name.startswith((f"{log}.", f"{log}-", f"{log}_")):
        return True
    stem, dot, suffix = log.rpartition(".")
    return bool(dot and re.fullmatch(rf"{re.escape(stem)}{_DATED}\.{re.escape(suffix)}(?:\.gz)?", name))


def look(path: Path) -> File | None:
    """What it is now; None where there is no file, or none that can be read."""
    is_packed = path.name.endswith(_PACKED)
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            return File(path.name, status.st_dev, status.st_ino, status.st_size, began(file), is_packed)
    except UNREADABLE:
        return None


def open_file(path: Path) -> BinaryIO:
    """To read what was written, packed or not. Raises OSError."""
    if path.name.endswith(_PACKED):
        if not path.is_file():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))  # A FIFO would hang.
        return cast("BinaryIO", gzip.open(path))
    return open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, _READ))


class Bytes:
    """What stands in a file, packed or not; of a packed one what is before the last position is gone."""

    def __init__(self, file: BinaryIO, *, is_packed: bool) -> None:
        self._file, self._is_packed = file, is_packed
        self._held, self._start = b"", 0

    def at(self, position: int, size: int) -> bytes:
        """So many bytes from there, or as many as there are."""
        if not self._is_packed:
            return os.pread(self._file.fileno(), size, position)
        if position > self._start + len(self._held):
            self._file.seek(position)
            self._held, self._start = b"", position
        self._held, self._start = self._held[position - self._start :], position
        while len(self._held) < size and (more := self._file.read(size - len(self._held))):
            self._held += more
        return self._held[:size]

    def close(self) -> None:
        self._file.close()


def began(file: BinaryIO) -> float | None:
    """The time of its first line that is one; what is none may stand before it."""
    for line in _lines(file):
        start = line.find(b"{")
        with suppress(msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            return _timed(line[max(start, 0) :]).time.timestamp()
    return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Those that end within FIRST_LINE."""
    text, size, left = b"", 1 << 14, FIRST_LINE
    while left > 0 and (more := file.read(size)):
        *lines, text = (text + more).split(b"\n")
        yield from lines
        left, size = left - len(more), size * 2
