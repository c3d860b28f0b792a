"""Standard output that takes every character, whatever its encoding."""

import os
import sys
from io import TextIOWrapper

from lessee.core.errors import CannotWrite


def escape_unknown(encoding: str | None = None) -> None:
    r"""What the encoding (default: the terminal's) cannot say is written as an escape, such as \u2026."""
    if isinstance(sys.stdout, TextIOWrapper):  # It is None where it was closed.
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def unsaid(exc: OSError) -> Exception:
    """What went wrong at writing to it, to be raised. BrokenPipeError: who reads it has seen enough."""
    if isinstance(exc, BrokenPipeError):
        return exc
    # What is left over is thrown away: Python would try once more at its own end, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CannotWrite(exc.strerror or "not written", where="standard output", todo="make room; --status tells it too")
