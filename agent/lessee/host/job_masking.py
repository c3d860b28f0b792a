"""Keeps values out of the log of a job: its runner is told each of them before anything else is said."""

import fcntl
import os
import stat
import sys
import termios
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from lessee.core.errors import UsageError, WriteError
from lessee.core.redaction import Redactor
from lessee.host.clock import boot_time

_STDOUT, _STDERR = 1, 2
_PATIENCE = 10.0
"""Seconds for which a runner may be busy elsewhere."""
_MOMENT = 0.0005


def redactor_for(mask: str | None, environ: Mapping[str, str]) -> Redactor:
    """One that tells GitHub's runner too, where `mask` is github.

    Raises UsageError where no runner listens: it would show what it is to hide.
    """
    if mask is None:
        return Redactor()
    if environ.get("GITHUB_ACTIONS") != "true":
        todo = "leave it out; no other runner hides at run time what it is told"
        raise UsageError("--mask github: this is no job of GitHub's, $GITHUB_ACTIONS is not true", todo=todo)
    if elsewhere := _elsewhere():
        todo = "leave stderr to the step; redirect stdout alone"
        raise UsageError(f"--mask github: stderr {elsewhere}, where the values would stand", todo=todo)
    return _Masking()


def _elsewhere() -> str:
    """Where stderr goes that is not the runner; empty if it may well be."""
    status = os.fstat(_STDERR)
    if stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode):
        return "is a file or a terminal"
    with suppress(OSError):  # stdout may be closed.
        # The runner gives a step two pipes; who has joined them may have put another reader before it.
        if stat.S_ISFIFO(status.st_mode) and os.path.sameopenfile(_STDOUT, _STDERR):
            return "goes where stdout goes"
    return ""


class _Masking(Redactor):
    """Tells the runner what it learns. The runner reads both streams of a step; stdout is the child's or the result."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()
        self._short: set[str] = set()

    def learn(self, source: str, values: Iterable[object]) -> None:
        # Wanted in CI alone.
        from lessee.core.github_actions import command, masks  # noqa: PLC0415
        from lessee.telemetry.logs import log  # noqa: PLC0415

        values = list(values)
        super().learn(source, values)
        found, short = masks(values)
        new = [mask for mask in found if mask not in self._told and mask not in self._public]
        self._told.update(new)
        _tell([f"{command('add-mask', mask)}\n".encode("utf-8", "replace") for mask in new])
        if short and source not in self._short:
            self._short.add(source)
            note = "the log would lose too much; keep them out of it"
            log("warning", "too short to be masked", secret=source.partition(" ")[2], values=short, note=note)


def _tell(lines: list[bytes]) -> None:
    """Return when the runner has taken them in, so that no program that starts later can speak before.

    It reads each pipe by the line, in a thread of its own, and what came by stderr is looked at first. That all lines
    are out of the pipe does not mean that it has looked at them; that it has come for another one does: the last is
    sent twice. Raises WriteError where nobody reads.
    """
    sys.stderr.flush()
    for part in (lines, lines[-1:]):
        sys.stderr.buffer.write(b"".join(part))
        sys.stderr.flush()
        if lines and stat.S_ISFIFO(os.fstat(_STDERR).st_mode):
            _wait_until_empty(boot_time() + _PATIENCE)


def _wait_until_empty(deadline: float) -> None:
    # As pipe(7) has it, FIONREAD tells what is unread at either end.
    while int.from_bytes(fcntl.ioctl(_STDERR, termios.FIONREAD, bytes(4)), sys.byteorder):
        if boot_time() > deadline:
            raise WriteError("the runner does not read what is to be masked", where="stderr")
        time.sleep(_MOMENT)
