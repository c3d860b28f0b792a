"""Runs a custom program with JSON on its stdin, and reads its answer from its stdout."""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.core.redaction import Redactor
from lessee.process.program_output import remember
from lessee.process.spawn import forget, spawn
from lessee.telemetry.logs import log

REFUSED = 77
"""EX_NOPERM of sysexits(3): the exit status of a program that was refused something, so that a retry does not help."""
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_MAX_ANSWER = 1 << 20
_MAX_STDERR = 65536
_CHUNK = 65536
_MAX_LINES = 20
_KILL_TIMEOUT = 1.0


class Finished(ImmutableStruct, frozen=True):
    """How a program ended. `lines`: the first whole lines of its stderr, with its values redacted."""

    hidden = ("answer",)

    status: int | None
    """The return code of Popen. None: the program was not started, or was killed."""
    reason: str
    """Why it failed, to follow the program's name; empty after a success."""
    answer: bytes = b""
    lines: tuple[str, ...] = ()
    line_count: int = 0
    """The number of all lines of its stderr."""
    started: bool = True

    def report(self, event: str, *, owner: str, program: str, **fields: object) -> None:
        """Log how it ended, and keep its lines in memory for `lessee status --output OWNER`."""
        if self.started:
            result = self.reason or "exited with status 0"
            remember(owner, program, self.lines, result=result, line_count=self.line_count)
            level = "info" if self.status == 0 else "warning"
            log(level, event, target=owner, **fields, status=self.status, lines=self.line_count)


class Program:
    """One program, started without a shell. Its environment has only a few variables of lessee's."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        """`folder`: its working directory, to which a relative path of the program is relative too."""
        first, *rest = command
        self.name = first
        self._command = [str(folder.absolute() / first) if "/" in first else first, *rest]
        self._folder = folder
        self._environ = {name: environ[name] for name in _ENVIRONMENT if name in environ}

    def run(self, given: Mapping[str, Any], timeout: float) -> Finished:
        """Run it. After `timeout` seconds it is killed, with the processes that it has started."""
        deadline = time.monotonic() + timeout
        try:
            process = spawn(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=self._environ,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            reason = (exc.strerror if isinstance(exc, OSError) else None) or "an argument holds a NUL"
            return Finished(None, f"was not started: {reason}", started=False)
        exchange = _Exchange(json.dumps(given).encode())
        try:
            killed = "" if exchange.run(process, deadline) else exchange.abort_reason or f"after {timeout:g} s"
        finally:
            _end(process)
            forget(process)
        status = None if killed else process.returncode
        reason = f"was killed {killed}" if killed else _failure(process.returncode)
        line_count = exchange.stderr.count(b"\n") + (bool(exchange.stderr) and not exchange.stderr.endswith(b"\n"))
        return Finished(status, reason, bytes(exchange.answer), _redacted_lines(exchange, given), line_count)


class _Exchange:
    """The input and output of a running program."""

    def __init__(self, given: bytes) -> None:
        self._given = given
        self.answer = bytearray()
        self.stderr = bytearray()
        self.abort_reason = ""
        """Why it must be killed."""

    def run(self, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """Exchange input and output until it exits, or the time is over. Whether it has exited."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with _pidfd(process) as pidfd, selectors.DefaultSelector() as selector:
            selector.register(pidfd, selectors.EVENT_READ)
            for stream, event in (
                (process.stdin, selectors.EVENT_WRITE),
                (process.stdout, selectors.EVENT_READ),
                (process.stderr, selectors.EVENT_READ),
            ):
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, event)
            outputs = {process.stdout: self.answer, process.stderr: self.stderr}
            while (left := deadline - time.monotonic()) > 0 and not self.abort_reason:
                ready = [key.fileobj for key, _ in selector.select(left)]
                # Its exit is checked before the pipes are read, so that its last output is in them.
                for stream, output in outputs.items():
                    if stream in selector.get_map() and not self._read(stream.fileno(), output):
                        selector.unregister(stream)
                if pidfd in ready:
                    return not self.abort_reason
                if process.stdin in ready and self._write(process.stdin.fileno()):
                    selector.unregister(process.stdin)
                    process.stdin.close()
        return False

    def _write(self, pipe: int) -> bool:
        """Write to its stdin. Whether all is written."""
        try:
            self._given = self._given[os.write(pipe, self._given) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:  # It need not read its input.
            return True
        return not self._given

    def _read(self, pipe: int, output: bytearray) -> bool:
        """Read its output. Whether there may be more."""
        with suppress(BlockingIOError):
            while chunk := os.read(pipe, _CHUNK):
                output += chunk[: _MAX_ANSWER + 1 - len(output)]
                if output is self.answer and len(output) > _MAX_ANSWER:
                    self.abort_reason = "because its answer is longer than 1 MiB"
                    return False
            return False
        return True


@contextmanager
def _pidfd(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """A descriptor that is readable when the process has exited."""
    descriptor = os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Reap the program; if it still runs, kill it and the processes that it has started."""
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.close()
    if process.poll() is not None:
        return
    # It was not reaped, so its PID cannot be another process's.
    with suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_TIMEOUT)


def _failure(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status}"
    return f"exited with {status}" if status else ""


def _redacted_lines(exchange: _Exchange, given: Mapping[str, Any]) -> tuple[str, ...]:
    redactor = Redactor()
    # The log's redactor does not know the answer yet, and the program may print its values before.
    answer = exchange.answer.decode(errors="replace")
    redactor.learn("given", [{key: value for key, value in given.items() if key not in {"step", "id"}}])
    redactor.learn("answer", [_values(answer)])
    stderr = exchange.stderr[:_MAX_STDERR]
    # A part of a value would not be redacted, so incomplete lines are dropped.
    is_whole = len(exchange.stderr) <= _MAX_STDERR and stderr.endswith(b"\n")
    whole = stderr if is_whole else stderr[: stderr.rfind(b"\n") + 1]
    lines = [line for line in whole.decode(errors="replace").splitlines() if line.strip()]
    return tuple(redactor.clean(line) for line in lines[:_MAX_LINES])


def _values(answer: str) -> Any:
    """The values in an answer; all its words where it is not JSON."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer.split()
