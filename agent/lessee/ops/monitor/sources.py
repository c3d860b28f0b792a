"""The sources of audit logs: each has a thread that waits for lines and posts them to the loop."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.inotify import DirectoryWatch
from lessee.ops.monitor.batch import Batch, decode_lines
from lessee.ops.monitor.policy.cursor import Position
from lessee.ops.monitor.policy.request_times import RequestTimes
from lessee.ops.monitor.tailer import CHUNK, MAX_LINE, Tailer

MAX_PENDING_BATCHES = 4
"""Batches that a source may be ahead of the loop."""
MAX_CONNECTIONS = 64
"""Open connections of a socket. Each server has one."""
MAX_UNFINISHED = MAX_LINE + (1 << 24)
"""Bytes of the unfinished lines of all connections together: one of the longest line, and many of usual ones."""
FREE_SIZE = 1 << 17
"""Bytes of an unfinished line that each connection may always have."""
STDIN = 0


class LinesRead(ImmutableStruct, frozen=True):
    """A source has read lines."""

    source: str
    batch: Batch


class SourceIdle(ImmutableStruct, frozen=True):
    """A source has nothing to read now. `error` tells why it cannot read."""

    source: str
    error: str | None = None


class SourceEnded(ImmutableStruct, frozen=True):
    """A source will post nothing more."""

    source: str


Event = LinesRead | SourceIdle | SourceEnded
Post = Callable[[Event], None]


class Source(Protocol):
    """An audit log. Its thread is a daemon, because a network file system may hang forever."""

    kind: str
    name: str

    def start(self) -> None: ...

    def acknowledge(self) -> None:
        """The loop has processed a batch."""
        ...

    def close(self) -> None:
        """Post nothing more."""
        ...


class FileSource:
    """A file that an audit device writes, with its rotated files."""

    kind = "file"

    def __init__(
        self,
        name: str,
        path: Path,
        position: Position | None,
        post: Post,
        *,
        from_end: bool = False,
        since: float = 0.0,
        once: bool = False,
    ) -> None:
        """`once`: read to the current end of the log, and no further. `from_end` and `since`: see Tailer."""
        self.name = name
        self._tailer = Tailer(name, path, position, from_end=from_end, since=since)
        self._waker = DirectoryWatch(path)
        self._once = once
        self._outlet = Outlet(post)

    def start(self) -> None:
        """Start reading."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def acknowledge(self) -> None:
        """See Source."""
        self._outlet.acknowledge()

    def close(self) -> None:
        """See Source."""
        self._outlet.close()
        self._waker.wake()

    def _run(self) -> None:
        try:
            last = None
            while not self._outlet.closed:
                batch, error = self._read()
                if batch is not None:
                    self._outlet.post_lines(LinesRead(self.name, batch))
                    last = None
                    continue
                idle = SourceIdle(self.name, error)
                if idle != last:
                    last = idle
                    self._outlet.post(idle)
                if self._once:
                    self._outlet.post(SourceEnded(self.name))
                    return
                self._waker.wait()
        finally:
            self._tailer.close()
            self._waker.close()

    def _read(self) -> tuple[Batch | None, str | None]:
        try:
            return self._tailer.read(), None
        except LesseeError as exc:
            return None, str(exc)
        except Exception as exc:  # noqa: BLE001  # A traceback may print a line. The other sources continue.
            return None, f"internal error: {type(exc).__name__}; please report it"


class StdinSource:
    """The output of another program, such as `tail -F`."""

    kind = "stdin"

    def __init__(self, name: str, post: Post) -> None:
        self.name = name
        self._outlet = Outlet(post)

    def start(self) -> None:
        """Start reading."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def acknowledge(self) -> None:
        """See Source."""
        self._outlet.acknowledge()

    def close(self) -> None:
        """See Source."""
        self._outlet.close()

    def _run(self) -> None:
        self._outlet.post(SourceIdle(self.name))
        forward_lines(self.name, lambda: os.read(STDIN, CHUNK), self._outlet)
        self._outlet.post(SourceEnded(self.name))


class Outlet:
    """Posts events to the loop, with backpressure: a long log must not fill the memory."""

    def __init__(self, post: Post) -> None:
        self.closed = False
        self._post = post
        self._slots = threading.Semaphore(MAX_PENDING_BATCHES)

    def post_lines(self, event: LinesRead) -> None:
        """Wait for a free slot, and post."""
        self._slots.acquire()
        self.post(event)

    def post(self, event: Event) -> None:
        if not self.closed:
            self._post(event)

    def acknowledge(self) -> None:
        self._slots.release()

    def close(self) -> None:
        self.closed = True
        self._slots.release(MAX_CONNECTIONS + 1)  # For all threads that wait for a slot.


class LineMemory:
    """Bounds the memory that the unfinished lines of several streams take together."""

    def __init__(self, limit: int = MAX_UNFINISHED) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._sizes: dict[object, int] = {}

    def hold(self, stream: object, size: int) -> bool:
        """Whether a stream may keep so many bytes from now on."""
        with self._lock:
            self._sizes.pop(stream, None)
            if size <= FREE_SIZE:
                return True
            if sum(self._sizes.values()) + size > self._limit:
                return False
            self._sizes[stream] = size
            return True


def forward_lines(
    source: str,
    read: Callable[[], bytes],
    outlet: Outlet,
    *,
    memory: LineMemory | None = None,
    note_entries: Callable[[], None] = lambda: None,
) -> None:
    """Post all lines of a stream until its end. `memory`: shared with others. `note_entries`: some are valid."""
    requests = RequestTimes()
    for lines, too_long in _whole_lines(read, outlet, memory or LineMemory()):
        accesses, invalid = decode_lines(lines, source, requests)
        if invalid < len(lines):
            note_entries()
        outlet.post_lines(LinesRead(source, Batch(accesses, None, len(lines) + too_long, invalid + too_long)))


def _whole_lines(read: Callable[[], bytes], outlet: Outlet, memory: LineMemory) -> Iterator[tuple[list[bytes], int]]:
    """Some lines at a time, and the number of lines that were skipped, being too long for MAX_LINE or the memory."""
    buffer, is_too_long, stream = bytearray(), False, object()
    while not outlet.closed:
        try:
            text = read()
        except OSError:
            text = b""
        if not text:
            memory.hold(stream, 0)
            if buffer:
                yield ([], 1) if is_too_long else ([bytes(buffer)], 0)
            return
        buffer += text
        if b"\n" in text:
            end = buffer.rfind(b"\n") + 1
            with memoryview(buffer)[:end] as whole:
                lines = bytes(whole).split(b"\n")[:-1]
            del buffer[:end]
            memory.hold(stream, len(buffer))
            yield (lines[1:], 1) if is_too_long else (lines, 0)
            is_too_long = False
        elif is_too_long or len(buffer) > MAX_LINE or not memory.hold(stream, len(buffer)):
            memory.hold(stream, 0)
            buffer.clear()
            is_too_long = True
