"""Stores the position in each log and the state of each sink in one file, so that neither is ahead of the other."""

import os
import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import open_directory, translate_write_errors
from lessee.host.locks import take_lock
from lessee.host.ownership import refuse_foreign_writers
from lessee.ops.monitor.policy.cursor import Position
from lessee.telemetry.logs import log

NUMBER_GAP = 1_000_000_000
"""Numbers that a source skips after a kill if it cannot be read again. More than it used since the last save."""
_FILE, _NEW, _LOCK = "state.json", "state.new", "lock"
_FORMAT = 2
"""Format 1 is that of lessee 0.1.0: see `policy/checkpoint_format_1.py`."""
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Format(msgspec.Struct):
    format: int


class SourceProgress(ImmutableStruct, frozen=True):
    """How far a log was read."""

    location: str
    """The file or address. The same name may get another one later."""
    position: Position | None = None
    number: int = 0
    """The number of the last access; see LogEntry."""
    accesses: int = 0
    lines: int = 0
    invalid_lines: int = 0
    gaps: int = 0
    last_at: float = 0.0
    """The time of the last access."""
    since: float = 0.0
    """Accesses before this moment are skipped: where the first start was to begin."""
    history_until: float = 0.0
    """The moment of the first start, if it began before the log's end. What is earlier raises one alert at most."""
    cluster: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The cluster whose log it is: the accessor of each permanent mount that was read, by its type."""


class Owner(ImmutableStruct, frozen=True):
    """The configuration that a state belongs to: the state of another one would mix two logs and their alerts."""

    configuration: str
    """Its absolute path."""
    environment: str | None

    def __str__(self) -> str:
        return f"{self.configuration} (environment {self.environment})" if self.environment else self.configuration


class Checkpoint(ImmutableStruct, frozen=True):
    """The monitor's whole state. `is_final` is False until the monitor stops: entries may have followed."""

    format: int = _FORMAT
    is_final: bool = True
    owner: Owner | None = None
    """None: of an earlier version, or a new one."""
    sources: Mapping[str, SourceProgress] = msgspec.field(default_factory=dict)
    sinks: Mapping[str, Any] = msgspec.field(default_factory=dict)


class CheckpointStore:
    """The state directory, which one monitor uses at a time."""

    def __init__(self, directory: Path) -> None:
        """Raises WriteError if the directory is not writable, not this user's alone, or another monitor uses it."""
        self._directory = directory
        self._fd = open_directory(directory, make=(0o700, None, None))
        refuse_foreign_writers(self._fd, directory, "the monitor's state_dir")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with translate_write_errors(directory / _LOCK):
            self._lock = os.open(_LOCK, flags, 0o600, dir_fd=self._fd)
        if not take_lock(self._lock):
            todo = "stop it, or set another `monitor: {state_dir: …}`"
            raise WriteError("another monitor uses this directory", where=str(directory), todo=todo)

    def load(self) -> Checkpoint:
        """The checkpoint that was saved last. Raises LesseeError if it is not readable."""
        path = self._directory / _FILE
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return Checkpoint()
        except OSError as exc:
            raise LesseeError(f"the monitor's state is not readable: {exc.strerror}", where=str(path)) from None
        todo = "use the version of lessee that wrote it, or remove it to read and count the logs from the start"
        with suppress(*_ERRORS):
            found = msgspec.json.decode(text, type=_Format).format
            if found > _FORMAT:
                what = (
                    f"a newer version of lessee wrote the monitor's state, in format {found}; this one reads {_FORMAT}"
                )
                raise LesseeError(what, where=str(path), todo=todo)
            if found == 1:
                from lessee.ops.monitor.policy.checkpoint_format_1 import upgrade  # noqa: PLC0415  # After an upgrade.

                checkpoint = msgspec.json.decode(upgrade(text), type=Checkpoint)
                log(
                    "warning",
                    "monitor state of an earlier version read",
                    file=str(path),
                    sources=len(checkpoint.sources),
                )
                return checkpoint
            if found == _FORMAT:
                return msgspec.json.decode(text, type=Checkpoint)
        raise LesseeError("this is not the state of a monitor", where=str(path), todo=todo)

    def save(self, text: bytes) -> None:
        """Replace the checkpoint atomically. Raises WriteError."""
        with translate_write_errors(self._directory / _FILE):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(_NEW, flags, 0o600, dir_fd=self._fd)
            try:
                view = memoryview(text)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            except OSError:
                # On a full disk, half a file would only take space.
                os.unlink(_NEW, dir_fd=self._fd)
                raise
            finally:
                os.close(fd)
            os.rename(_NEW, _FILE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._lock)
        os.close(self._fd)


class CheckpointWriter:
    """Saves checkpoints in its own thread, so that a slow disk delays no change."""

    def __init__(self, store: CheckpointStore) -> None:
        self.error: str | None = None
        """Why the last checkpoint was not saved, or None."""
        self._store = store
        self._saved = b""
        self._requests: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lessee-monitor-save", daemon=True)
        self._thread.start()

    def save(self, checkpoint: Checkpoint) -> None:
        """Save soon, unless a newer one replaces it. The caller may change its content afterwards."""
        self._requests.put(msgspec.json.encode(checkpoint))

    def wait(self) -> None:
        """Wait until the last checkpoint is saved, or has failed."""
        done = threading.Event()
        self._requests.put(done)
        done.wait()

    def close(self) -> None:
        """Wait for the last checkpoint. Raises WriteError if it was not saved."""
        self._requests.put(None)
        self._thread.join()
        if self.error is not None:
            raise WriteError(self.error)

    def _run(self) -> None:
        newest = b""
        while (request := self._requests.get()) is not None:
            if isinstance(request, bytes):
                newest = request
                if not self._requests.empty():
                    continue  # A newer one may follow.
            self._save(newest)
            if isinstance(request, threading.Event):
                request.set()
        self._save(newest)

    def _save(self, text: bytes) -> None:
        if text in {self._saved, b""}:
            return
        try:
            self._store.save(text)
        except WriteError as exc:
            self._report(f"the monitor's state was not saved: {exc}")
        else:
            self._saved, self.error = text, None

    def _report(self, error: str) -> None:
        if error != self.error:
            log("error", "monitor state not saved", reason=error)
        self.error = error
