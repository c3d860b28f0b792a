"""Stands between an MCP client, at our stdin and stdout, and the servers that come one after the other."""

import errno
import os
import secrets
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

from lessee.host.clock import boot_time
from lessee.mcp.session.actions import (
    About,
    Action,
    CloseInput,
    Drained,
    Gone,
    Say,
    ToClient,
    ToServer,
    UnusableError,
    Works,
)
from lessee.mcp.session.lines import Lines
from lessee.mcp.session.machine import Session
from lessee.telemetry.logs import log

_STDIN, _STDOUT = 0, 1
_CHUNK = 65536
_MOST_CHUNKS = 1024
_SURELY = 4096
"""Bytes that a pipe that can be written to takes without waiting (PIPE_BUF in pipe(7))."""
_FULL = 1024 * 1024
"""Bytes that wait for one side before nothing more is read from the other."""
_MOST_HELD = 64 * 1024 * 1024
"""Bytes that wait for a server before nothing more is read from the client."""
_LAST_WORDS = 2.0
"""Seconds that the client has to take what is left when all is over."""
_MUTE = 1.0
"""Seconds after which a server that has closed its output or its input and goes on is of no use."""


class Relay:
    """All but the making of servers is done by a thread of its own; each method is the supervisor's."""

    def __init__(self, post: Callable[[About | Gone], None]) -> None:
        """`post` is called by that thread."""
        self._errands: deque[Callable[[], None]] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._servers = 0
        self._thread: threading.Thread | None = None
        self._between = _Between(post, self._errands, self._bell)

    @staticmethod
    def pipes() -> "Pipes":
        """For a server that is about to be started. Raises OSError where there are too many."""
        return Pipes()

    def attach(self, pipes: "Pipes") -> None:
        """The server was started."""
        pipes.close_theirs()
        self._servers += 1
        number = self._servers
        self._have(lambda: self._between.attach(pipes, number))
        if self._thread is None:
            self._thread = threading.Thread(target=self._between.run, name="lessee-relay", daemon=True)
            self._thread.start()

    def drain(self, timeout: float) -> None:
        """Have the server finish what it was asked, for so many seconds; then `Drained` is posted."""
        until = boot_time() + timeout
        self._have(lambda: self._between.drain(until))

    def close_input(self) -> None:
        """Of the server, which is to end by that."""
        self._have(self._between.close_input)

    def detach(self) -> None:
        """The server has ended."""
        self._have(self._between.detach)

    def finish(self) -> None:
        """There will be no server any more: say so to who still waits."""
        self._have(self._between.finish)
        if self._thread is not None:
            self._thread.join(_LAST_WORDS + 1)

    def _have(self, errand: Callable[[], None]) -> None:
        self._errands.append(errand)
        os.eventfd_write(self._bell, 1)


class Pipes:
    """Of stdin and stdout: the server's ends, and ours."""

    def __init__(self) -> None:
        self.stdin, self.to_server = os.pipe()
        try:
            self.from_server, self.stdout = os.pipe()
        except OSError:
            os.close(self.stdin)
            os.close(self.to_server)
            raise
        os.set_blocking(self.to_server, False)
        os.set_blocking(self.from_server, False)

    def close_theirs(self) -> None:
        """The server has them."""
        os.close(self.stdin)
        os.close(self.stdout)

    def close(self) -> None:
        """There was no server to be started."""
        self.close_theirs()
        os.close(self.to_server)
        os.close(self.from_server)


class _Sink:
    """What is to be written to one side."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self.left = bytearray()

    def add(self, line: bytes) -> None:
        if self.descriptor is not None:
            self.left += line
            self.left += b"\n"

    def wrote(self, count: int) -> None:
        del self.left[:count]


class _Between:
    """What the relay's thread owns."""

    def __init__(self, post: Callable[[About | Gone], None], errands: deque[Callable[[], None]], bell: int) -> None:
        self._post, self._errands, self._bell = post, errands, bell
        self._session = Session(secrets.token_hex(4))
        self._server = 0
        self._from_client, self._from_server = Lines(), Lines()
        self._to_client, self._to_server = _Sink(), _Sink()
        self._to_client.descriptor = _STDOUT
        self._heard: int | None = None
        """The server's output."""
        self._hears = True
        """Whether the client may say more."""
        self._closing = False
        self._wanted: list[tuple[int, int]] = []
        self._poll, self._room = select.poll(), select.poll()
        self._room.register(_STDOUT, select.POLLOUT)
        self._closed = ""
        """What the server has closed."""
        self._mute_at = self._over_at = float("inf")

    def run(self) -> None:
        try:
            while not self._is_over():
                self._turn()
        except Exception as exc:  # noqa: BLE001  # A session without it would hang for ever.
            log("error", "relay failed", reason=f"{type(exc).__name__}; please report it")
            self._post(Gone())

    def _turn(self) -> None:
        # The order: what the server has said may be what it is drained by.
        ready = self._wait()
        if self._bell in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._bell)
        if self._heard is not None and self._heard in ready:
            self._read_server()
        if self._hears and _STDIN in ready:
            self._read_client()
        while self._errands:
            self._errands.popleft()()
        now = boot_time()
        if now >= self._session.wake_at:
            self._obey(self._session.tick(now))
        if now >= self._mute_at:
            self._mute_at = float("inf")
            self._obey([UnusableError(f"it has closed its {self._closed}")])
        self._write_server()
        self._write_client()

    def _wait(self) -> set[int]:
        wanted = [(self._bell, select.POLLIN)]
        if self._heard is not None and len(self._to_client.left) < _FULL:
            wanted.append((self._heard, select.POLLIN))
        if self._hears and len(self._to_server.left) < _FULL and self._session.held < _MOST_HELD:
            wanted.append((_STDIN, select.POLLIN))
        sinks = (self._to_client, self._to_server)
        wanted += [(sink.descriptor, select.POLLOUT) for sink in sinks if sink.left and sink.descriptor is not None]
        if wanted != self._wanted:
            self._wanted, self._poll = wanted, select.poll()
            for descriptor, event in wanted:
                self._poll.register(descriptor, event)
        wake_at = min(self._session.wake_at, self._mute_at, self._over_at)
        wait = None if wake_at == float("inf") else max(0.0, wake_at - boot_time()) * 1000 + 1
        return {descriptor for descriptor, _ in self._poll.poll(wait)}

    def _is_over(self) -> bool:
        return self._over_at < float("inf") and (not self._to_client.left or boot_time() >= self._over_at)

    # Errands.

    def attach(self, pipes: Pipes, number: int) -> None:
        self._server = number
        self._heard = pipes.from_server
        self._to_server.descriptor = pipes.to_server
        self._closing = False
        self._obey(self._session.server_started(boot_time()))

    def drain(self, until: float) -> None:
        self._obey(self._session.drain(until))

    def close_input(self) -> None:
        self._obey(self._session.leave())

    def detach(self) -> None:
        """What it has said last is still in the pipe."""
        for _ in range(_MOST_CHUNKS):  # What it has left behind may go on talking.
            if self._heard is None or not self._read_server():
                break
        if rest := self._from_server.rest():
            self._obey(self._session.from_server(rest))
        self._forget_output()
        self._close_server_input()
        self._mute_at = float("inf")
        self._obey(self._session.server_ended())

    def finish(self) -> None:
        self._obey(self._session.over())
        self._over_at = boot_time() + _LAST_WORDS

    # What is read.

    def _read_client(self) -> None:
        try:
            chunk = os.read(_STDIN, _CHUNK)
        except OSError:
            chunk = b""
        for line in self._from_client.feed(chunk):
            self._obey(self._session.from_client(line))
        if not chunk:
            self._hang_up()

    def _hang_up(self) -> None:
        if not self._hears:
            return
        self._hears = False
        if rest := self._from_client.rest():
            self._obey(self._session.from_client(rest))
        self._obey(self._session.client_gone())
        self._post(Gone())

    def _read_server(self) -> bool:
        """Whether there may be more."""
        assert self._heard is not None
        try:
            chunk = os.read(self._heard, _CHUNK)
        except BlockingIOError:
            return False
        for line in self._from_server.feed(chunk):
            self._obey(self._session.from_server(line))
        if not chunk:
            self._forget_output()
            self._expect_end("output")
        return bool(chunk)

    # What is done.

    def _obey(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case ToClient(line):
                    self._to_client.add(line)
                case ToServer(line):
                    self._to_server.add(line)
                case CloseInput():
                    self._closing = True
                case Works() | Drained() | UnusableError():
                    self._post(About(self._server, action))
                case Say(level, event, fields):
                    log(level, event, **fields)
                case _:
                    assert_never(action)

    def _write_server(self) -> None:
        sink = self._to_server
        try:
            while sink.left and sink.descriptor is not None:
                sink.wrote(os.write(sink.descriptor, sink.left))
        except BlockingIOError:
            return
        except OSError:  # It reads no more, and is about to end.
            sink.left.clear()
            if not self._closing:
                self._expect_end("input")
            self._closing = True
        if self._closing:
            self._close_server_input()

    def _write_client(self) -> None:
        sink = self._to_client
        # That our end of the pipe does not block would be so for all who share it.
        try:
            while sink.left and self._room.poll(0):
                sink.wrote(os.write(_STDOUT, sink.left[:_SURELY]))
        except BlockingIOError:  # Somebody else has made it so.
            return
        except OSError as exc:
            if exc.errno != errno.EPIPE:
                log("warning", "client cannot be written to", reason=exc.strerror)
            sink.left.clear()
            sink.descriptor = None
            self._hang_up()

    def _expect_end(self, closed: str) -> None:
        self._closed, self._mute_at = closed, boot_time() + _MUTE

    def _close_server_input(self) -> None:
        self._to_server.left.clear()
        if self._to_server.descriptor is not None:
            os.close(self._to_server.descriptor)
            self._to_server.descriptor = None

    def _forget_output(self) -> None:
        if self._heard is not None:
            os.close(self._heard)
            self._heard = None
