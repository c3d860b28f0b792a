"""Keeps how far the logs were read, and what was made of them, in one file: neither is ever ahead of the other."""

import fcntl
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import Record
from lessee.host.directories import cannot_write, open_directory
from lessee.ops.monitor.policy.cursor import Place
from lessee.telemetry.logs import log

LEAP = 1_000_000_000
"""Numbers that are left out after a kill, where nobody can go back: more than were given since the last save."""
_FILE, _NEW, _LOCK = "state.json", "state.new", "lock"
_FORMAT = 1


class Standing(Record, frozen=True):
    """How far a log was read. `log`: which it is; under its name there may be another some day."""

    log: str
    place: Place | None = None
    number: int = 0
    """Of the last access; see Line."""
    accesses: int = 0
    lines: int = 0
    rubbish: int = 0
    gaps: int = 0
    last_at: float = 0.0
    """The time of the last access."""


class Kept(Record, frozen=True):
    """All of it. `is_whole` False: lines may have been heard since that nobody can hear again."""

    format: int = _FORMAT
    is_whole: bool = True
    sources: Mapping[str, Standing] = msgspec.field(default_factory=dict)
    sinks: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Keeper:
    """A directory, of one monitor at a time."""

    def __init__(self, directory: Path) -> None:
        """Raises WriteError: it cannot be made or written, or another monitor has it."""
        self._directory = directory
        self._fd = open_directory(directory, make=(0o700, None, None))
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with cannot_write(directory / _LOCK):
            self._lock = os.open(_LOCK, flags, 0o600, dir_fd=self._fd)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            todo = "end it, or give this one another `monitor: {state: …}`"
            raise WriteError("another monitor keeps its state there", where=str(directory), todo=todo) from None

    def load(self) -> Kept:
        """What was saved last. Raises LesseeError where that cannot be read."""
        path = self._directory / _FILE
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except OSError as exc:
            raise LesseeError(f"what was kept cannot be read: {exc.strerror}", where=str(path)) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            kept = None
        if kept is None or kept.format != _FORMAT:
            todo = "take the lessee that wrote it, or remove it: then the logs are read, and counted, from the start"
            raise LesseeError("this is not what a monitor keeps", where=str(path), todo=todo)
        return kept

    def save(self, text: bytes) -> None:
        """Instead of what was there; whoever ends us, one of the two is there, whole. Raises WriteError."""
        with cannot_write(self._directory / _FILE):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(_NEW, flags, 0o600, dir_fd=self._fd)
            try:
                view = memoryview(text)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            except OSError:
                # A half of it on a full disk would be in the way of others.
                os.unlink(_NEW, dir_fd=self._fd)
                raise
            finally:
                os.close(fd)
            os.rename(_NEW, _FILE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)

    def close(self) -> None:
        """Let another have it."""
        os.close(self._lock)
        os.close(self._fd)


class Saver:
    """Saves in a thread of its own: a disk may take its time, and who waits for a change should not wait for that."""

    def __init__(self, keeper: Keeper) -> None:
        self.trouble: str | None = None
        """Why the last one could not be saved."""
        self._keeper = keeper
        self._saved = b""
        self._wanted: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lessee-monitor-save", daemon=True)
        self._thread.start()

    def save(self, kept: Kept) -> None:
        """Soon; the last one counts. What it holds may be changed afterwards."""
        self._wanted.put(msgspec.json.encode(kept))

    def wait(self) -> None:
        """Until the last one is saved, or could not be."""
        done = threading.Event()
        self._wanted.put(done)
        done.wait()

    def close(self) -> None:
        """Once the last one is saved. Raises WriteError."""
        self._wanted.put(None)
        self._thread.join()
        if self.trouble is not None:
            raise WriteError(self.trouble)

    def _run(self) -> None:
        newest = b""
        while (wanted := self._wanted.get()) is not None:
            if isinstance(wanted, bytes):
                newest = wanted
                if not self._wanted.empty():
                    continue  # A newer one may be there.
            self._save(newest)
            if isinstance(wanted, threading.Event):
                wanted.set()
        self._save(newest)

    def _save(self, text: bytes) -> None:
        if text in {self._saved, b""}:
            return
        try:
            self._keeper.save(text)
        except WriteError as exc:
            self._say(f"what was read and counted cannot be kept: {exc}")
        else:
            self._saved, self.trouble = text, None

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log("error", "not saved", reason=trouble)
        self.trouble = trouble
