"""Prints to standard output, whatever its encoding."""

import os
import sys
from io import TextIOWrapper

from lessee.core.errors import WriteError


def escape_unknown(encoding: str | None = None) -> None:
    r"""Write a character that the encoding (default: the terminal's) lacks as an escape, such as \u2026."""
    if isinstance(sys.stdout, TextIOWrapper):  # A closed stdout is replaced by None.
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def print_line(text: str) -> None:
    """Print and flush a text. Raises BrokenPipeError if the reader has closed the pipe, and WriteError."""
    try:
        print(text, flush=True)  # noqa: T201  # The only purpose of this function.
    except BrokenPipeError:
        raise
    except OSError as exc:
        # Discard the rest: Python would try to write it again at exit, and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        todo = "free some space, or redirect the output elsewhere"
        raise WriteError(exc.strerror or "cannot write", where="standard output", todo=todo) from None
