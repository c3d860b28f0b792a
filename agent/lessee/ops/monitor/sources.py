"""Where an audit log comes from: each source has a thread that waits for lines, and posts what it reads."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lessee.core.errors import LesseeError
from lessee.core.immutable import Record
from lessee.host.inotify import Waker
from lessee.ops.monitor.batch import Piece, decoded
from lessee.ops.monitor.policy.cursor import Place
from lessee.ops.monitor.tailer import CHUNK, LINE_MAX, Follower

AHEAD = 4
"""Pieces that a source may be ahead of the loop."""
CONNECTIONS = 64
"""Of a socket, at a time: a server has one."""
STDIN = 0


class Heard(Record, frozen=True):
    """Lines of a source."""

    source: str
    piece: Piece


class Stood(Record, frozen=True):
    """How a source stands, when there is nothing to read."""

    source: str
    error: str | None = None


class Ended(Record, frozen=True):
    """Nothing more will come of it."""

    source: str


Event = Heard | Stood | Ended
Post = Callable[[Event], None]


class Source(Protocol):
    """A log. Its thread is a daemon: a network's file system may hang for ever."""

    kind: str
    name: str

    def start(self) -> None: ...

    def taken(self) -> None:
        """The loop has taken a piece."""
        ...

    def close(self) -> None:
        """Post nothing any more."""
        ...


class FromFile:
    """A file that a device writes, with those that are rotated away."""

    kind = "file"

    def __init__(
        self, name: str, path: Path, place: Place | None, post: Post, *, from_end: bool = False, once: bool = False
    ) -> None:
        """`once`: to the end that there is now."""
        self.name = name
        self._follower = Follower(name, path, place, from_end=from_end)
        self._waker = Waker(path)
        self._once = once
        self._pace = Pace(post)

    def start(self) -> None:
        """Read, from now on."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def taken(self) -> None:
        """See Source."""
        self._pace.taken()

    def close(self) -> None:
        """See Source."""
        self._pace.close()
        self._waker.wake()

    def _run(self) -> None:
        try:
            stood = None
            while not self._pace.closed:
                piece, error = self._read()
                if piece is not None:
                    self._pace.post(Heard(self.name, piece))
                    stood = None
                    continue
                now = Stood(self.name, error)
                if now != stood:
                    stood = now
                    self._pace.say(now)
                if self._once:
                    self._pace.say(Ended(self.name))
                    return
                self._waker.wait()
        finally:
            self._follower.close()
            self._waker.close()

    def _read(self) -> tuple[Piece | None, str | None]:
        try:
            return self._follower.read(), None
        except LesseeError as exc:
            return None, str(exc)
        except Exception as exc:  # noqa: BLE001  # A traceback may print a line, and the other sources go on.
            return None, f"internal error: {type(exc).__name__}; please report it"


class FromStdin:
    """What another program writes, such as `tail -F`."""

    kind = "stdin"

    def __init__(self, name: str, post: Post) -> None:
        self.name = name
        self._pace = Pace(post)

    def start(self) -> None:
        """Read, from now on."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def taken(self) -> None:
        """See Source."""
        self._pace.taken()

    def close(self) -> None:
        """See Source."""
        self._pace.close()

    def _run(self) -> None:
        self._pace.say(Stood(self.name))
        pass_on(self.name, lambda: os.read(STDIN, CHUNK), self._pace)
        self._pace.say(Ended(self.name))


class Pace:
    """Posts no more than the loop can take, so that a long log does not fill the memory."""

    def __init__(self, post: Post) -> None:
        self.closed = False
        self._post = post
        self._room = threading.Semaphore(AHEAD)

    def post(self, heard: Heard) -> None:
        self._room.acquire()
        self.say(heard)

    def say(self, event: Event) -> None:
        if not self.closed:
            self._post(event)

    def taken(self) -> None:
        self._room.release()

    def close(self) -> None:
        self.closed = True
        self._room.release(CONNECTIONS + 1)  # Whoever waits for room.


def pass_on(source: str, read: Callable[[], bytes], pace: Pace) -> None:
    """All that comes, until its end."""
    for text, rubbish in _whole_lines(read, pace):
        accesses, bad = decoded(text, source)
        pace.post(Heard(source, Piece(accesses, None, len(text) + rubbish, bad + rubbish)))


def _whole_lines(read: Callable[[], bytes], pace: Pace) -> Iterator[tuple[list[bytes], int]]:
    """Some lines at a time, and how many there were besides that had no end within LINE_MAX."""
    held, too_long = bytearray(), False
    while not pace.closed:
        try:
            text = read()
        except OSError:
            text = b""
        if not text:
            if held:
                yield ([], 1) if too_long else ([bytes(held)], 0)
            return
        held += text
        if b"\n" in text:
            end = held.rfind(b"\n") + 1
            lines = bytes(held[:end]).split(b"\n")[:-1]
            del held[:end]
            yield (lines[1:], 1) if too_long else (lines, 0)
            too_long = False
        elif len(held) > LINE_MAX:
            held.clear()
            too_long = True
