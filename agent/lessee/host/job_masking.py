"""Masks values in the log of a GitHub Actions job: the runner gets each value before any other output."""

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
_READ_TIMEOUT = 10.0
"""Seconds for which the runner may be busy."""
_POLL = 0.0005


def redactor_for(mask: str | None, environ: Mapping[str, str]) -> Redactor:
    """A redactor, which also masks values in GitHub's runner if `mask` is github.

    Raises UsageError if stderr does not reach the runner, because the values would then be printed in clear text.
    """
    if mask is None:
        return Redactor()
    if environ.get("GITHUB_ACTIONS") != "true":
        todo = "leave out --mask; no other runner masks values at run time"
        raise UsageError("--mask github: not a GitHub Actions job, as $GITHUB_ACTIONS is not true", todo=todo)
    if redirection := _redirection():
        todo = "redirect only stdout"
        raise UsageError(f"--mask github: stderr {redirection}, so the values would be printed there", todo=todo)
    return _MaskingRedactor()


def _redirection() -> str:
    """Where stderr leads instead of the runner; empty if it may be the runner."""
    status = os.fstat(_STDERR)
    if stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode):
        return "is a file or a terminal"
    with suppress(OSError):  # stdout may be closed.
        # The runner gives a step two pipes. If they are the same, another program may read them first.
        if stat.S_ISFIFO(status.st_mode) and os.path.sameopenfile(_STDOUT, _STDERR):
            return "is redirected to stdout"
    return ""


class _MaskingRedactor(Redactor):
    """Masks what it learns, by commands on stderr: the runner reads both streams, but stdout has the result."""

    def __init__(self) -> None:
        super().__init__()
        self._masked: set[str] = set()
        self._short: set[str] = set()

    def learn(self, source: str, values: Iterable[object]) -> None:
        # Imported only in CI jobs.
        from lessee.core.github_actions import command, masks  # noqa: PLC0415
        from lessee.telemetry.logs import log  # noqa: PLC0415

        values = list(values)
        super().learn(source, values)
        found, short = masks(values)
        new = [mask for mask in found if mask not in self._masked and mask not in self._public]
        self._masked.update(new)
        _send([f"{command('add-mask', mask)}\n".encode("utf-8", "replace") for mask in new])
        if short and source not in self._short:
            self._short.add(source)
            note = "masking them would hide too much of the log; do not print them"
            log("warning", "values too short to mask", secret=source.partition(" ")[2], values=short, note=note)


def _send(lines: list[bytes]) -> None:
    """Send lines to the runner, and return when it has processed them, so that no later output precedes them.

    The runner reads each pipe by lines, in a thread of its own, and processes stderr first. An empty pipe does not mean
    that it has processed the last line, but reading a further line does: so the last line is sent twice. Raises
    WriteError if the runner does not read.
    """
    sys.stderr.flush()
    for part in (lines, lines[-1:]):
        sys.stderr.buffer.write(b"".join(part))
        sys.stderr.flush()
        if lines and stat.S_ISFIFO(os.fstat(_STDERR).st_mode):
            _wait_until_empty(boot_time() + _READ_TIMEOUT)


def _wait_until_empty(deadline: float) -> None:
    # FIONREAD returns the number of unread bytes at either end, pipe(7).
    while int.from_bytes(fcntl.ioctl(_STDERR, termios.FIONREAD, bytes(4)), sys.byteorder):
        if boot_time() > deadline:
            raise WriteError("the runner does not read the values to mask", where="stderr")
        time.sleep(_POLL)
