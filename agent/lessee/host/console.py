"""Standard output that takes every character, whatever its encoding."""

import os
import sys
from io import TextIOWrapper

from lessee.core.errors import WriteError


def escape_unknown(encoding: str | None = None) -> None:
    r"""What the encoding (default: the terminal's) cannot say is written as an escape, such as \u2026."""
    if isinstance(sys.stdout, TextIOWrapper):  # It is None where it was closed.
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def say(text: str) -> None:
    """Print it at once. Raises BrokenPipeError where who reads it has seen enough, and WriteError."""
    try:
        print(text, flush=True)  # noqa: T201  # It is what this is for.
    except BrokenPipeError:
        raise
    except OSError as exc:
        # What is left over is thrown away: Python would try once more at its own end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        todo = "make room, or write it elsewhere"
        raise WriteError(exc.strerror or "not written", where="standard output", todo=todo) from None
