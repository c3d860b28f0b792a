"""Limits for the answers of a server that a client library reads from a socket: such libraries limit each read alone.

What is counted is what crosses the socket, so the limits hold however the answer is framed.
"""

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_KIB, _MIB = 1 << 10, 1 << 20


class LargeAnswerError(OSError):
    """An answer has more bytes or parts than it may have, or declares more. The text names the limit."""


class SlowAnswerError(TimeoutError):
    """A request and its answer take longer than they may. The text names the limit."""


class AnswerLimits:
    """What one request and its answer may take, with all connections that carry them.

    `size`: bytes of the answer. `parts`: how often `mark` may occur in it, which is a byte that each value of the
    format has: a parser makes up to a hundred bytes of each byte that it reads. `rate`: bytes per second that the
    request and the answer may need beyond `seconds`, or 0.
    """

    def __init__(self, seconds: float, size: int, *, mark: bytes = b"", parts: int = 0, rate: float = 0.0) -> None:
        self._seconds, self._size, self._mark, self._parts, self._rate = seconds, size, mark, parts, rate
        self.begin()

    def begin(self, *, size: int | None = None, seconds: float | None = None, restart: bool = True) -> None:
        """A request begins. `size`: bytes of its answer, which has no marks then. `restart`: the time begins too.

        `seconds`: from now on.
        """
        self._seconds = self._seconds if seconds is None else seconds
        self._left, self._parts_left = self._size if size is None else size, self._parts
        self._has_marks = bool(self._mark) and size is None
        if restart:
            self._began, self._moved = time.monotonic(), 0

    def left(self, timeout: float | None) -> float:
        """Seconds for the next read or write, at most `timeout`. Raises SlowAnswerError."""
        allowed = self._seconds + (self._moved / self._rate if self._rate else 0.0)
        left = self._began + allowed - time.monotonic()
        if left <= 0:
            extra = f", and a second for each {_spelled(int(self._rate))}" if self._rate else ""
            raise SlowAnswerError(f"an answer that takes longer than {self._seconds:g} s{extra}")
        return left if timeout is None else min(left, timeout)

    def sent(self, count: int) -> None:
        """Count bytes that were sent."""
        self._moved += count

    def received(self, data: "ReadableBuffer") -> None:
        """Count bytes of the answer. Raises LargeAnswerError."""
        view = memoryview(data)
        self._moved += len(view)
        self._left -= len(view)
        if self._left < 0:
            raise LargeAnswerError(f"an answer larger than {_spelled(self._size)}")
        if self._has_marks:
            self._parts_left -= bytes(view).count(self._mark)
            if self._parts_left < 0:
                raise LargeAnswerError(f"an answer with more than {self._parts} parts")


class LimitedSocket:
    """A connected socket, or one with TLS, whose reads and writes keep to the limits."""

    def __init__(self, connected: socket.socket, limits: AnswerLimits) -> None:
        self._socket = connected
        self._limits = limits
        self._timeout = connected.gettimeout()

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises LargeAnswerError, SlowAnswerError, or OSError as a socket does."""
        with self.timed():
            data = self._socket.recv(size, flags)
        self._limits.received(data)
        return data

    def recv_into(self, buffer: "WriteableBuffer", size: int = 0, flags: int = 0) -> int:
        """Raises as `recv` does."""
        with self.timed():
            count = self._socket.recv_into(buffer, size, flags)
        self._limits.received(memoryview(buffer)[:count])
        return count

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Raises SlowAnswerError, or OSError as a socket does."""
        with self.timed():
            self._socket.sendall(data, flags)
        self._limits.sent(len(memoryview(data)))

    def makefile(self, mode: str = "r", buffering: int | None = None, **_: Any) -> Any:
        """A stream of bytes that reads. As with a socket's own, the connection stays open until it is closed too."""
        del mode
        raw = _LimitedStream(self, self._socket.makefile("rb", buffering=0), self._limits)
        return raw if buffering == 0 else io.BufferedReader(raw)

    def settimeout(self, timeout: float | None) -> None:
        """Seconds for each read and write, as far as the limits leave them."""
        self._timeout = timeout
        self._socket.settimeout(timeout)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """A read or write in this context takes what the limits leave. Raises SlowAnswerError."""
        # 0 asks whether there is something to read.
        if self._timeout != 0:
            self._socket.settimeout(self._limits.left(self._timeout))
        try:
            yield
        except TimeoutError:
            self._limits.left(None)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _LimitedStream(io.RawIOBase):
    def __init__(self, owner: LimitedSocket, stream: Any, limits: AnswerLimits) -> None:
        self._owner, self._stream, self._limits = owner, stream, limits

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        with self._owner.timed():
            count: int | None = self._stream.readinto(buffer)
        if count:
            self._limits.received(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def broken_limit(exc: BaseException | None) -> str:
    """Which limit an answer broke, from the error of a library that read it; empty if none."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        if isinstance(exc, LargeAnswerError | SlowAnswerError):
            return str(exc)
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return ""


def _spelled(size: int) -> str:
    return f"{size // _MIB} MiB" if size >= _MIB else f"{size // _KIB} KiB"
