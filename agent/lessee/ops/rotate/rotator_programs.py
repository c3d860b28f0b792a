"""Runs a program of the operator's own: JSON goes to its stdin, and what it answers is taken from its stdout."""

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

from lessee.core.immutable import Record
from lessee.core.redaction import Redactor
from lessee.process.spawn import over, spawn

REFUSED = 77
"""EX_NOPERM of sysexits(3): the status by which a program says that something is refused, and not merely failed."""
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_MOST_ANSWERED = 1 << 20
_MOST_SAID = 65536
_CHUNK = 65536
_LINES = 20
_DYING = 1.0


class Finished(Record, frozen=True):
    """How a program ended. `lines`: the first whole lines of its stderr, without the values that it was given."""

    hidden = ("answer",)

    status: int | None
    """As Popen gives it. None: it was not started, or it was killed."""
    why: str
    """What is wrong with that, to go behind the program's name; empty where nothing is."""
    answer: bytes = b""
    lines: tuple[str, ...] = ()
    started: bool = True


class Program:
    """One program. No shell reads its words, and its environment is none of lessee's but what every program needs."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        """`folder`: where it runs, and where a relative path to it begins."""
        first, *rest = command
        self.name = first
        self._command = [str(folder.absolute() / first) if "/" in first else first, *rest]
        self._folder = folder
        self._environ = {name: environ[name] for name in _ENVIRONMENT if name in environ}

    def run(self, given: Mapping[str, Any], timeout: float) -> Finished:
        """Wait for its end or for `timeout` seconds; then it is killed, with what it started."""
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
            reason = (exc.strerror if isinstance(exc, OSError) else None) or "a word of it holds a NUL"
            return Finished(None, f"was not started: {reason}", started=False)
        talk = _Talk(json.dumps(given).encode())
        try:
            killed = "" if talk.attend(process, deadline) else talk.why or f"after {timeout:g} s"
        finally:
            _end(process)
            over(process)
        status = None if killed else process.returncode
        why = f"was killed {killed}" if killed else _why(process.returncode)
        return Finished(status, why, bytes(talk.answer), _filtered(talk, given))


class _Talk:
    """What goes in and out of a program while it runs."""

    def __init__(self, given: bytes) -> None:
        self._given = given
        self.answer = bytearray()
        self.said = bytearray()
        self.why = ""
        """Why it must not go on."""

    def attend(self, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """Talk with it until it ends, or time is up. Whether it has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with _alive(process) as alive, selectors.DefaultSelector() as selector:
            selector.register(alive, selectors.EVENT_READ)
            for stream, event in (
                (process.stdin, selectors.EVENT_WRITE),
                (process.stdout, selectors.EVENT_READ),
                (process.stderr, selectors.EVENT_READ),
            ):
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, event)
            outputs = {process.stdout: self.answer, process.stderr: self.said}
            while (left := deadline - time.monotonic()) > 0 and not self.why:
                ready = [key.fileobj for key, _ in selector.select(left)]
                # Whether it has ended is looked at first: what it said last is then in the pipes, and is read below.
                for stream, kept in outputs.items():
                    if stream in selector.get_map() and not self._hear(stream.fileno(), kept):
                        selector.unregister(stream)
                if alive in ready:
                    return not self.why
                if process.stdin in ready and self._tell(process.stdin.fileno()):
                    selector.unregister(process.stdin)
                    process.stdin.close()
        return False

    def _tell(self, pipe: int) -> bool:
        """Whether there is nothing more to tell."""
        try:
            self._given = self._given[os.write(pipe, self._given) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:  # It need not read what it has no use for.
            return True
        return not self._given

    def _hear(self, pipe: int, kept: bytearray) -> bool:
        """Read what is there. Whether there may be more."""
        with suppress(BlockingIOError):
            while chunk := os.read(pipe, _CHUNK):
                kept += chunk[: _MOST_ANSWERED + 1 - len(kept)]
                if kept is self.answer and len(kept) > _MOST_ANSWERED:
                    self.why = "because it answered more than 1 MiB"
                    return False
            return False
        return True


@contextmanager
def _alive(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """A descriptor that can be read from when the process has ended."""
    descriptor = os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Collect its status, and kill it and what it started if it has none yet."""
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.close()
    if process.poll() is not None:
        return
    # Nobody has waited for it, so its number cannot have passed to another.
    with suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DYING)


def _why(status: int) -> str:
    if status < 0:
        return f"ended by signal {-status}"
    return f"ended with {status}" if status else ""


def _filtered(talk: _Talk, given: Mapping[str, Any]) -> tuple[str, ...]:
    redactor = Redactor()
    # What it answers is in no log's redactor yet, and a program may print it before it answers.
    answered = talk.answer.decode(errors="replace")
    redactor.learn("given", [{key: value for key, value in given.items() if key not in {"step", "id"}}])
    redactor.learn("answered", [_values(answered)])
    said = talk.said[:_MOST_SAID]
    # The half of a value would not be known as one, so no half of a line is given away.
    whole = said if len(talk.said) <= _MOST_SAID and said.endswith(b"\n") else said[: said.rfind(b"\n") + 1]
    lines = [line for line in whole.decode(errors="replace").splitlines() if line.strip()]
    return tuple(redactor.clean(line) for line in lines[:_LINES])


def _values(answered: str) -> Any:
    """The values in an answer; all its words where it is no JSON."""
    try:
        return json.loads(answered)
    except (ValueError, RecursionError):
        return answered.split()
