"""Keeps the last output of each operators' program in memory, from where `lessee status --output` reads it.

The log has only a count of the lines: a program may print a value in a form that redaction does not know.
"""

import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import wall_time
from lessee.telemetry.logs import redacted

_MAX_OUTPUTS = 48
_MAX_CHARACTERS = 4096
_lock = threading.Lock()
_served = threading.Event()
_outputs: "dict[tuple[str, str], ProgramOutput]" = {}


class ProgramOutput(ImmutableStruct, frozen=True):
    """The output of the last run of a program."""

    hidden = ("lines",)

    program: str
    """Its key in the configuration, such as `check`."""
    ended_at: str
    """RFC 3339."""
    result: str
    """How it ended."""
    line_count: int
    lines: tuple[str, ...]
    """Some of the lines, of limited length."""


def remember(owner: str, program: str, lines: Sequence[str], *, result: str, line_count: int) -> None:
    """Keep the output instead of the previous one. `owner`: an app, or a rotation target."""
    at = datetime.fromtimestamp(wall_time(), UTC).isoformat(timespec="seconds")
    left = _MAX_CHARACTERS
    kept: list[str] = []
    for line in lines:
        if len(line) > left:  # A part of a value would not be redacted.
            break
        kept.append(line)
        left -= len(line)
    with _lock:
        _outputs.pop((owner, program), None)
        _outputs[owner, program] = ProgramOutput(program, at, result, line_count, tuple(kept))
        if len(_outputs) > _MAX_OUTPUTS:
            del _outputs[next(iter(_outputs))]


def outputs_of(owner: str) -> list[ProgramOutput]:
    """The last output of each of its programs, the newest last."""
    with _lock:
        return [output for (name, _), output in _outputs.items() if name == owner]


def print_on_terminal(owner: str) -> None:
    """Print its outputs to stderr if that is a terminal, for a command whose memory ends with it."""
    if sys.stderr.isatty():
        for output in outputs_of(owner):
            for line in redacted("\n".join(output.lines)).splitlines():
                sys.stderr.write(f"  {output.program}: {line}\n")


def mark_served() -> None:
    """The status socket serves the outputs from now on."""
    _served.set()


def hint(owner: str, line_count: int) -> str:
    """What an error says of the output; empty without one."""
    if not line_count:
        return ""
    lines = "1 line" if line_count == 1 else f"{line_count} lines"
    if not _served.is_set():
        return f"; its output, {lines}, is not logged"
    return f"; `lessee status --output {owner}` prints its output, {lines}"
