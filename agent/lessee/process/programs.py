"""Runs a configured command for a limited time."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lessee.core.immutable import ImmutableStruct
from lessee.process.program_output import remember
from lessee.process.spawn import forget, program_environ, spawn, user_settings
from lessee.telemetry.logs import log

_MAX_LINES = 20
_HEAD_BYTES = 65536
_TAIL_BYTES = 4096
_LONGEST_POLL = 3600.0  # poll(2) counts milliseconds in an int
_KILL_TIMEOUT = 1.0


class ProgramResult(ImmutableStruct, frozen=True):
    """How a program ended."""

    status: int | None
    """The return code of Popen, negative for a signal. None: it was not started, or was killed."""
    failure: str
    """Why it failed, to follow the program's name; empty after a success."""
    lines: tuple[str, ...] = ()
    """The first whole lines of its output and errors."""
    last_line: str = ""
    """The last of all lines, which often says why it failed."""
    line_count: int = 0
    """The number of all lines."""
    start_error: str = ""
    """Why it was not started."""

    @property
    def succeeded(self) -> bool:
        """Whether it exited with status 0."""
        return self.status == 0

    def report(self, event: str, *, owner: str, program: str, **fields: object) -> None:
        """Log how it ended, and keep its output for `lessee status --output OWNER`; `program` is its key."""
        self.keep_output(owner, program)
        level = "info" if self.succeeded else "warning"
        log(level, event, **fields, status=self.status, lines=self.line_count)

    def keep_output(self, owner: str, program: str) -> None:
        """Keep its output in memory, and log nothing."""
        lines = self.lines
        if self.last_line and self.last_line not in lines:
            lines = (*lines, "…", self.last_line)
        result = self.failure or "exited with status 0"
        remember(owner, program, lines, result=result, line_count=self.line_count)


def run(command: Sequence[str], *, timeout: float, extra: Mapping[str, str] = {}) -> ProgramResult:
    """Run a program without a shell or input, and kill it after `timeout` seconds.

    It leads a session of its own, which is killed as a whole. If it ends in time, the processes that it started may go
    on: they are neither awaited nor killed, even if they hold the output open. Its environment is `extra`, and
    the variables of the agent that the configuration names. It has no capabilities, and gains none.
    """
    deadline = time.monotonic() + timeout
    try:
        process = spawn(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=program_environ(os.environ) | dict(extra),
            start_new_session=True,
            unprivileged=True,
            **user_settings(),
        )
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or "an argument holds a NUL"
        return ProgramResult(None, f"was not started: {reason}", start_error=reason)
    output = _Output()
    try:
        _collect(process, output, deadline)
    finally:
        killed = _end(process)
        forget(process)
    status = None if killed else process.returncode
    lines, last_line = output.lines(complete=status is not None and status >= 0)
    return ProgramResult(status, _failure(status, timeout), lines, last_line, output.line_count)


class _Output:
    """The beginning and the end of an output: the first error is often in the one, the last in the other."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._length = 0
        self._line_ends = 0

    @property
    def line_count(self) -> int:
        """The number of lines, also of an incomplete last one."""
        return self._line_ends + (self._length > 0 and not self._tail.endswith(b"\n"))

    def add(self, chunk: bytes) -> None:
        self._length += len(chunk)
        self._line_ends += chunk.count(b"\n")
        self._head += chunk[: _HEAD_BYTES - len(self._head)]
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]

    def lines(self, *, complete: bool) -> tuple[tuple[str, ...], str]:
        """The first lines, and the last of all. `complete`: nothing is missing at the end of the output."""
        # A part of a value would not be redacted, so incomplete lines are dropped.
        head = _lines(self._head, complete=complete and self._length < _HEAD_BYTES)
        tail = _lines(self._tail, complete=complete)[self._length > _TAIL_BYTES :]
        return tuple(head[:_MAX_LINES]), next((line for line in reversed(tail) if line.strip()), "")


def _lines(output: bytearray, *, complete: bool) -> list[str]:
    return (output if complete else output[: output.rfind(b"\n") + 1]).decode(errors="replace").splitlines()


def _collect(process: "subprocess.Popen[bytes]", output: _Output, deadline: float) -> None:
    """Read the output, so that the program does not block at a full pipe, until it ends or time is up."""
    assert process.stdout is not None
    pipe, pidfd = process.stdout.fileno(), os.pidfd_open(process.pid)
    os.set_blocking(pipe, False)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready = [descriptor for descriptor, _ in poll.poll(min(left, _LONGEST_POLL) * 1000)]
            if not ready:
                continue
            chunk = b""
            with suppress(BlockingIOError):
                # After its end too: its last output is in the pipe, which holds no more than this.
                chunk = os.read(pipe, _HEAD_BYTES)
            output.add(chunk)
            if pidfd in ready:
                return
            if not chunk:
                poll.unregister(pipe)
    finally:
        os.close(pidfd)


def _end(process: "subprocess.Popen[bytes]") -> bool:
    """Reap the program, and kill it if it still runs; return whether it was killed."""
    assert process.stdout is not None
    process.stdout.close()
    if process.poll() is not None:
        return False
    # It was not reaped, so no other process can have its pid.
    with suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A program that changed its uid can survive this; `reap_orphans` collects it later.
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_TIMEOUT)
    return True


def _failure(status: int | None, timeout: float) -> str:
    if status is None:
        return f"was killed after {timeout:g} s"
    if status < 0:
        return f"was terminated by {_signal_name(-status)}"
    return f"exited with status {status}" if status else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # Most real-time signals have no name.
        return f"signal {number}"
