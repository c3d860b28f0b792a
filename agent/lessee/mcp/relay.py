"""Relays messages between an MCP client, at this process's stdin and stdout, and a sequence of servers."""

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
    Action,
    ClientClosed,
    CloseInput,
    Drained,
    Log,
    SendToClient,
    SendToServer,
    ServerEvent,
    ServerResponded,
    ServerUnusable,
)
from lessee.mcp.session.line_splitter import LineSplitter
from lessee.mcp.session.machine import Session
from lessee.telemetry.logs import log

_STDIN, _STDOUT = 0, 1
_CHUNK = 65536
_MAX_CHUNKS = 1024
_PIPE_BUF = 4096
"""Bytes that a writable pipe accepts without blocking (PIPE_BUF in pipe(7))."""
_MAX_UNSENT = 1024 * 1024
"""Bytes to send to one side from which on the relay reads nothing more from the other."""
_MAX_PENDING = 64 * 1024 * 1024
"""Bytes that wait for a server from which on the relay reads nothing more from the client."""
_FLUSH_TIMEOUT = 2.0
"""Seconds at the end in which the client can receive the remaining messages."""
_EXIT_TIMEOUT = 1.0
"""Seconds in which a server that has closed its input or output must end."""


class Relay:
    """The supervisor's interface to the relay, whose thread does everything except starting servers."""

    def __init__(self, post: Callable[[ServerEvent | ClientClosed], None]) -> None:
        """The relay's thread calls `post`."""
        self._tasks: deque[Callable[[], None]] = deque()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._server_count = 0
        self._thread: threading.Thread | None = None
        self._worker = _RelayWorker(post, self._tasks, self._wakeup)

    @staticmethod
    def pipes() -> "Pipes":
        """Create the pipes of a server that is about to be started. Raises OSError if there are too many."""
        return Pipes()

    def attach(self, pipes: "Pipes") -> None:
        """Attach a server that was started with these pipes."""
        pipes.close_server_ends()
        self._server_count += 1
        number = self._server_count
        self._run_in_thread(lambda: self._worker.attach(pipes, number))
        if self._thread is None:
            self._thread = threading.Thread(target=self._worker.run, name="lessee-relay", daemon=True)
            self._thread.start()

    def drain(self, timeout: float) -> None:
        """Complete the pending requests within `timeout` seconds; then the relay posts `Drained`."""
        deadline = boot_time() + timeout
        self._run_in_thread(lambda: self._worker.drain(deadline))

    def close_input(self) -> None:
        """Close the server's input, so that it ends."""
        self._run_in_thread(self._worker.close_input)

    def detach(self) -> None:
        """Detach a server that has ended."""
        self._run_in_thread(self._worker.detach)

    def finish(self) -> None:
        """Respond to all pending requests with an error, because no further server will be started."""
        self._run_in_thread(self._worker.finish)
        if self._thread is not None:
            self._thread.join(_FLUSH_TIMEOUT + 1)

    def _run_in_thread(self, task: Callable[[], None]) -> None:
        self._tasks.append(task)
        os.eventfd_write(self._wakeup, 1)


class Pipes:
    """The pipes of a server's stdin and stdout: the server's ends and the relay's ends."""

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

    def close_server_ends(self) -> None:
        """Close the ends that the server has inherited."""
        os.close(self.stdin)
        os.close(self.stdout)

    def close(self) -> None:
        """Close all ends, if the server could not be started."""
        self.close_server_ends()
        os.close(self.to_server)
        os.close(self.from_server)


class _OutputBuffer:
    """The data to send to one side."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self.unsent = bytearray()

    def add(self, line: bytes) -> None:
        if self.descriptor is not None:
            self.unsent += line
            self.unsent += b"\n"

    def consume(self, count: int) -> None:
        del self.unsent[:count]


class _RelayWorker:
    """The state of the relay's thread."""

    def __init__(
        self, post: Callable[[ServerEvent | ClientClosed], None], tasks: deque[Callable[[], None]], wakeup: int
    ) -> None:
        self._post, self._tasks, self._wakeup = post, tasks, wakeup
        self._session = Session(secrets.token_hex(4))
        self._server = 0
        self._from_client, self._from_server = LineSplitter(), LineSplitter()
        self._to_client, self._to_server = _OutputBuffer(), _OutputBuffer()
        self._to_client.descriptor = _STDOUT
        self._server_output: int | None = None
        """The descriptor of the server's output."""
        self._is_client_open = True
        """Whether the client may send more."""
        self._closing = False
        self._polled: list[tuple[int, int]] = []
        self._poll, self._stdout_poll = select.poll(), select.poll()
        self._stdout_poll.register(_STDOUT, select.POLLOUT)
        self._closed_stream = ""
        """The stream that the server has closed."""
        self._exit_deadline = self._flush_deadline = float("inf")

    def run(self) -> None:
        try:
            while not self._is_finished():
                self._run_once()
        except Exception as exc:  # noqa: BLE001  # Without this thread, the session would hang forever.
            log("error", "relay failed", reason=type(exc).__name__, todo="please report this")
            self._post(ClientClosed())

    def _run_once(self) -> None:
        # In this order, because the server's output may contain the response that completes a drain.
        ready = self._wait()
        if self._wakeup in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wakeup)
        if self._server_output is not None and self._server_output in ready:
            self._read_server()
        if self._is_client_open and _STDIN in ready:
            self._read_client()
        while self._tasks:
            self._tasks.popleft()()
        now = boot_time()
        if now >= self._session.wake_at:
            self._execute(self._session.tick(now))
        if now >= self._exit_deadline:
            self._exit_deadline = float("inf")
            self._execute([ServerUnusable(f"it closed its {self._closed_stream}")])
        self._write_server()
        self._write_client()

    def _wait(self) -> set[int]:
        polled = [(self._wakeup, select.POLLIN)]
        if self._server_output is not None and len(self._to_client.unsent) < _MAX_UNSENT:
            polled.append((self._server_output, select.POLLIN))
        if (
            self._is_client_open
            and len(self._to_server.unsent) < _MAX_UNSENT
            and self._session.pending_bytes < _MAX_PENDING
        ):
            polled.append((_STDIN, select.POLLIN))
        sinks = (self._to_client, self._to_server)
        polled += [(sink.descriptor, select.POLLOUT) for sink in sinks if sink.unsent and sink.descriptor is not None]
        if polled != self._polled:
            self._polled, self._poll = polled, select.poll()
            for descriptor, event in polled:
                self._poll.register(descriptor, event)
        wake_at = min(self._session.wake_at, self._exit_deadline, self._flush_deadline)
        wait = None if wake_at == float("inf") else max(0.0, wake_at - boot_time()) * 1000 + 1
        return {descriptor for descriptor, _ in self._poll.poll(wait)}

    def _is_finished(self) -> bool:
        return self._flush_deadline < float("inf") and (
            not self._to_client.unsent or boot_time() >= self._flush_deadline
        )

    # Tasks from the supervisor.

    def attach(self, pipes: Pipes, number: int) -> None:
        self._server = number
        self._server_output = pipes.from_server
        self._to_server.descriptor = pipes.to_server
        self._closing = False
        self._execute(self._session.server_started(boot_time()))

    def drain(self, deadline: float) -> None:
        self._execute(self._session.drain(deadline))

    def close_input(self) -> None:
        self._execute(self._session.close_input())

    def detach(self) -> None:
        """Read the last output, which is still in the pipe."""
        for _ in range(_MAX_CHUNKS):  # Bounded, because a child process of the server may continue to write.
            if self._server_output is None or not self._read_server():
                break
        if rest := self._from_server.take_rest():
            self._execute(self._session.from_server(rest))
        self._close_server_output()
        self._close_server_input()
        self._exit_deadline = float("inf")
        self._execute(self._session.server_ended())

    def finish(self) -> None:
        self._execute(self._session.finish())
        self._flush_deadline = boot_time() + _FLUSH_TIMEOUT

    # Input.

    def _read_client(self) -> None:
        try:
            chunk = os.read(_STDIN, _CHUNK)
        except OSError:
            chunk = b""
        for line in self._from_client.feed(chunk):
            self._execute(self._session.from_client(line))
        if not chunk:
            self._close_client()

    def _close_client(self) -> None:
        if not self._is_client_open:
            return
        self._is_client_open = False
        if rest := self._from_client.take_rest():
            self._execute(self._session.from_client(rest))
        self._execute(self._session.client_closed())
        self._post(ClientClosed())

    def _read_server(self) -> bool:
        """Read a chunk; returns whether there may be more."""
        assert self._server_output is not None
        try:
            chunk = os.read(self._server_output, _CHUNK)
        except BlockingIOError:
            return False
        for line in self._from_server.feed(chunk):
            self._execute(self._session.from_server(line))
        if not chunk:
            self._close_server_output()
            self._expect_exit("output")
        return bool(chunk)

    # Output.

    def _execute(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendToClient(line):
                    self._to_client.add(line)
                case SendToServer(line):
                    self._to_server.add(line)
                case CloseInput():
                    self._closing = True
                case ServerResponded() | Drained() | ServerUnusable():
                    self._post(ServerEvent(self._server, action))
                case Log(level, event, fields):
                    log(level, event, **fields)
                case _:
                    assert_never(action)

    def _write_server(self) -> None:
        sink = self._to_server
        try:
            while sink.unsent and sink.descriptor is not None:
                sink.consume(os.write(sink.descriptor, sink.unsent))
        except BlockingIOError:
            return
        except OSError:  # It has closed its input, and is about to end.
            sink.unsent.clear()
            if not self._closing:
                self._expect_exit("input")
            self._closing = True
        if self._closing:
            self._close_server_input()

    def _write_client(self) -> None:
        sink = self._to_client
        # Polled instead of set to non-blocking, because that would apply to all processes that share this pipe.
        try:
            while sink.unsent and self._stdout_poll.poll(0):
                sink.consume(os.write(_STDOUT, sink.unsent[:_PIPE_BUF]))
        except BlockingIOError:  # Another process has set it to non-blocking.
            return
        except OSError as exc:
            if exc.errno != errno.EPIPE:
                log("warning", "writing to client failed", reason=exc.strerror)
            sink.unsent.clear()
            sink.descriptor = None
            self._close_client()

    def _expect_exit(self, stream: str) -> None:
        self._closed_stream, self._exit_deadline = stream, boot_time() + _EXIT_TIMEOUT

    def _close_server_input(self) -> None:
        self._to_server.unsent.clear()
        if self._to_server.descriptor is not None:
            os.close(self._to_server.descriptor)
            self._to_server.descriptor = None

    def _close_server_output(self) -> None:
        if self._server_output is not None:
            os.close(self._server_output)
            self._server_output = None
