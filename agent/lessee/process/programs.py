"""Runs a program that an operator named, for a limited time."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lessee.core.immutable import Record
from lessee.process.spawn import environ_of_programs, over, spawn

_LINES = 20
_BYTES = 65536
_LAST_BYTES = 4096
_LONGEST_POLL = 3600.0  # poll(2) counts milliseconds in an int
_DYING = 1.0


class Ended(Record, frozen=True):
    """How a program ended."""

    status: int | None
    """As Popen gives it, a signal's number negative. None: it was not started, or it was killed."""
    why: str
    """What is wrong with that, to go behind the program's name; empty where nothing is."""
    lines: tuple[str, ...] = ()
    """The first whole lines of its output and errors."""
    last: str = ""
    """The last of all its lines, which mostly says why."""
    unstarted: str = ""
    """Why it could not be started."""

    @property
    def fine(self) -> bool:
        """Whether it ended with 0."""
        return self.status == 0


def run(command: Sequence[str], *, timeout: float, extra: Mapping[str, str] = {}) -> Ended:
    """Run a program without a shell or input, and wait for its end or for `timeout` seconds; then it is killed.

    It leads a session of its own, and is killed with what it started there. If it ends in time, what it started may
    go on: that is neither waited for nor killed, even if it holds the output open. Its environment is the agent's
    without what is the agent's own, and with `extra`.
    """
    deadline = time.monotonic() + timeout
    try:
        process = spawn(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ_of_programs(os.environ) | dict(extra),
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or "a word of it holds a NUL"
        return Ended(None, f"was not started: {reason}", unstarted=reason)
    said = _Output()
    try:
        _attend(process, said, deadline)
    finally:
        killed = _end(process)
        over(process)
    status = None if killed else process.returncode
    lines, last = said.lines(whole=status is not None and status >= 0)
    return Ended(status, _why(status, timeout), lines, last)


class _Output:
    """The beginning and the end of what was said: the first error often stands in the one, the last in the other."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._length = 0

    def add(self, chunk: bytes) -> None:
        self._length += len(chunk)
        self._head += chunk[: _BYTES - len(self._head)]
        self._tail = (self._tail + chunk)[-_LAST_BYTES:]

    def lines(self, *, whole: bool) -> tuple[tuple[str, ...], str]:
        """The first lines, and the last of all. `whole`: nothing is wanting at the end of the output."""
        # The half of a value would not be known as one, so no half of a line is given away.
        head = _lines(self._head, ends=whole and self._length < _BYTES)
        tail = _lines(self._tail, ends=whole)[self._length > _LAST_BYTES :]
        return tuple(head[:_LINES]), next((line for line in reversed(tail) if line.strip()), "")


def _lines(said: bytearray, *, ends: bool) -> list[str]:
    return (said if ends else said[: said.rfind(b"\n") + 1]).decode(errors="replace").splitlines()


def _attend(process: "subprocess.Popen[bytes]", said: _Output, deadline: float) -> None:
    """Read what it says, so that it does not stop at a full pipe, until it ends or time is up."""
    assert process.stdout is not None
    output, alive = process.stdout.fileno(), os.pidfd_open(process.pid)
    os.set_blocking(output, False)
    poll = select.poll()
    poll.register(output, select.POLLIN)
    poll.register(alive, select.POLLIN)
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready = [descriptor for descriptor, _ in poll.poll(min(left, _LONGEST_POLL) * 1000)]
            if not ready:
                continue
            chunk = b""
            with suppress(BlockingIOError):
                # After its end too: what it said last is in the pipe, and a pipe holds no more than this.
                chunk = os.read(output, _BYTES)
            said.add(chunk)
            if alive in ready:
                return
            if not chunk:
                poll.unregister(output)
    finally:
        os.close(alive)


def _end(process: "subprocess.Popen[bytes]") -> bool:
    """Collect its status; whether it had to be killed for that."""
    assert process.stdout is not None
    process.stdout.close()
    if process.poll() is not None:
        return False
    # Nobody has waited for it, so its number cannot have passed to another.
    with suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # One that became another user's can outlive this; whoever reaps orphans will find it.
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DYING)
    return True


def _why(status: int | None, timeout: float) -> str:
    if status is None:
        return f"was killed after {timeout:g} s"
    if status < 0:
        return f"ended by {_name(-status)}"
    return f"ended with {status}" if status else ""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # Most real-time signals have no name.
        return f"signal {number}"
