"""Where an audit log comes from: each source has a thread that waits for lines, and posts what it reads."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lessee.core.errors import CannotWrite, LesseeError
from lessee.core.monitor.cursor import Place
from lessee.core.record import Record
from lessee.host.logs import log
from lessee.monitor.following import CHUNK, LINE_MAX, Follower
from lessee.monitor.pieces import Piece, decoded
from lessee.monitor.waking import Waker

AHEAD = 4
"""Pieces that a source may be ahead of the loop."""
CONNECTIONS = 64
"""Of a socket, at a time: a server has one."""
STDIN = 0
AGAIN = 1.0
"""Seconds until one tries to listen again."""


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
        self._pace = _Pace(post)

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


class FromSocket:
    """Where the socket devices of servers connect to. What they say while nobody listens is lost to us."""

    kind = "socket"

    def __init__(self, name: str, address: str, post: Post) -> None:
        """`host:port`, or the path of a Unix socket."""
        self.name = name
        self._address = address
        self._pace = _Pace(post)
        self._closed = threading.Event()
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()

    def start(self) -> None:
        """Take connections, from now on."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def taken(self) -> None:
        """See Source."""
        self._pace.taken()

    def close(self) -> None:
        """See Source."""
        self._pace.close()
        self._closed.set()
        for one in (self._listener, *self._connections):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.close()
            if self._address.startswith("/"):
                Path(self._address).unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._pace.closed:
            try:
                self._listener = _listen(self._address)
            except CannotWrite as exc:
                self._pace.say(Stood(self.name, str(exc)))
                self._closed.wait(AGAIN)
            else:
                self._pace.say(Stood(self.name))
                self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        while not self._pace.closed:
            try:
                connection, _ = listener.accept()
            except OSError:
                self._closed.wait(AGAIN)  # There may be no descriptor left.
                continue
            if len(self._connections) >= CONNECTIONS:
                log("warning", "audit connection refused", source=self.name, note=f"there are {CONNECTIONS}")
                connection.close()
                continue
            self._connections.add(connection)
            name = f"lessee-audit-{self.name}-connection"
            threading.Thread(target=self._hear, args=(connection,), name=name, daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        log("info", "audit connection opened", source=self.name)
        with connection:
            _pass_on(self.name, lambda: connection.recv(CHUNK), self._pace)
        self._connections.discard(connection)
        if not self._pace.closed:
            log("info", "audit connection closed", source=self.name)


class FromStdin:
    """What another program writes, such as `tail -F`."""

    kind = "stdin"

    def __init__(self, name: str, post: Post) -> None:
        self.name = name
        self._pace = _Pace(post)

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
        _pass_on(self.name, lambda: os.read(STDIN, CHUNK), self._pace)
        self._pace.say(Ended(self.name))


class _Pace:
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


def _pass_on(source: str, read: Callable[[], bytes], pace: _Pace) -> None:
    """All that comes, until its end."""
    for text, rubbish in _whole_lines(read, pace):
        accesses, bad = decoded(text, source)
        pace.post(Heard(source, Piece(accesses, None, len(text) + rubbish, bad + rubbish)))


def _whole_lines(read: Callable[[], bytes], pace: _Pace) -> Iterator[tuple[list[bytes], int]]:
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


def _listen(address: str) -> socket.socket:
    try:
        if address.startswith("/"):
            return _listen_unix(Path(address))
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=CONNECTIONS)
    except OSError as exc:
        todo = "name another with `monitor: {audit: {socket: …}}`"
        reason = exc.strerror or exc.args[0]
        raise CannotWrite(f"cannot listen for the audit log: {reason}", where=address, todo=todo) from None


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
        listener.close()
        raise CannotWrite("another one listens there", where=str(path), todo="end it, or name another")
    if path.is_socket():
        path.unlink()
    try:
        listener.bind(str(path))
        path.chmod(0o660)  # The server has a uid of its own.
        listener.listen(CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener
