"""The file of the response log: each record is on disk before the monitor acts on it."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from lessee.core.errors import LesseeError, WriteError
from lessee.ops.monitor.policy.response_log import Record, decode, encode, to_keep, used

FILE = "responses.jsonl"
_NEW = "responses.new"
_MAX_BYTES = 64 << 20
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ResponseJournal:
    """The records, of this process and of others: `lessee monitor undo` adds to them too."""

    def __init__(self, directory: Path, *, create: bool = True) -> None:
        """`create`: a missing file is a first start. Raises LesseeError if the file is not a whole response log.

        Nothing may act then: without the log it is not known how much of a budget is left.
        """
        self.path = directory / FILE
        self.records: list[Record] = []
        self._size = 0
        try:
            self._fd = os.open(self.path, _FLAGS | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            todo = "check `monitor.state_dir`; the monitor makes the log when it first responds"
            raise LesseeError("there is no log of responses", where=str(self.path), todo=todo) from None
        except OSError as exc:
            todo = "run it as root or as the monitor's user"
            raise LesseeError(f"not readable: {exc.strerror}", where=str(self.path), todo=todo) from None
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(self._fd)
            # A privileged `undo` must not write where the monitor's user points it to.
            raise LesseeError("it is not a regular file of its own", where=str(self.path), todo="remove it")
        try:
            with self._locked():
                self._refresh(repair=create)
        except BaseException:
            os.close(self._fd)
            raise

    def refresh(self) -> None:
        """Read what other processes added. Raises LesseeError."""
        if os.fstat(self._fd).st_size != self._size:
            with self._locked():
                self._refresh()

    def add(self, record: Record) -> None:
        """Append a record. Raises WriteError, and then the file is as before."""
        with self._locked():
            self._refresh()
            self._append(record)

    def count(self, record: Record, limit: int) -> bool:
        """Append a record that counts unless the budget is used up; returns whether it was appended.

        No other process or thread can count at the same time. Raises LesseeError, and then nothing was counted.
        """
        with self._locked():
            self._refresh()
            if used(self.records, record.response, record.at) >= limit:
                return False
            self._append(record)
        return True

    def shorten(self, now: float) -> None:
        """Drop old records. Only the monitor's start calls it, before others can have opened the file."""
        kept = to_keep(self.records, now)
        if len(kept) == len(self.records):
            return
        new, content = self.path.with_name(_NEW), b"".join(map(encode, kept))
        with suppress(OSError):  # A full disk: the old file stays.
            fd = os.open(new, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
            if os.write(fd, content) != len(content):
                os.close(fd)
                return
            os.fsync(fd)
            new.rename(self.path)
            os.close(self._fd)
            self._fd, self.records, self._size = fd, kept, len(content)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _refresh(self, *, repair: bool = False) -> None:
        size = os.fstat(self._fd).st_size
        if size > _MAX_BYTES or size < self._size:
            todo = "stop the monitor, and find out what changed it"
            raise LesseeError("another program changed it", where=str(self.path), todo=todo)
        added = os.pread(self._fd, size - self._size, self._size)
        end = added.rfind(b"\n") + 1
        if end < len(added) and repair:
            # A kill in the middle of an append: what it announces did not happen.
            os.ftruncate(self._fd, self._size + end)
        for number, line in enumerate(added[:end].splitlines(), len(self.records) + 1):
            try:
                self.records.append(decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                todo = "no response runs until it is whole: restore it, or remove it, which resets the budgets"
                raise LesseeError("this is no record of a response", where=f"{self.path}:{number}", todo=todo) from None
        self._size += end

    def _append(self, record: Record) -> None:
        line = encode(record)
        reason: str | None = "no space is left"
        try:
            if os.fstat(self._fd).st_size != self._size:
                # Another process was killed in the middle of an append, which ended its lock.
                os.ftruncate(self._fd, self._size)
            is_whole = os.write(self._fd, line) == len(line)
            os.fsync(self._fd)
        except OSError as exc:
            is_whole, reason = False, exc.strerror
        if not is_whole:
            os.ftruncate(self._fd, self._size)
            todo = "the response does not run before it is recorded; free space on the disk"
            raise WriteError(f"cannot record the response: {reason}", where=str(self.path), todo=todo)
        self.records.append(record)
        self._size += len(line)
