"""Prints to standard output, whatever its encoding, and to a terminal, whatever the text; asks there for a yes."""

import os
import sys
from io import TextIOWrapper
from typing import TextIO

from lessee.core.errors import UsageError, WriteError
from lessee.core.printable import spelled_out


def protect_terminal() -> None:
    """Spell out control characters in what this process prints to stderr, and to a terminal, from now on.

    Other output may be read by a program, and stays as it is. Code that controls the terminal writes to
    `sys.__stdout__`.
    """
    # A closed stream is replaced by None.
    if isinstance(sys.stderr, TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _protected(sys.stderr)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout is sys.__stdout__ and sys.stdout.isatty():
        sys.stdout = _protected(sys.stdout)


def _protected(stream: TextIOWrapper) -> TextIO:
    return _Printed(
        stream.buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True, write_through=True
    )


class _Printed(TextIOWrapper):
    def write(self, text: str) -> int:
        super().write(spelled_out(text, keep="\n\t"))
        return len(text)


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


def confirm(question: str, *, yes: bool, todo: str = "add --yes") -> None:
    """Ask, unless `yes`. Raises UsageError without a terminal, with `todo`, and where the answer is not yes."""
    if yes:
        return
    if not has_terminal():
        raise UsageError("lessee cannot ask for confirmation: there is no terminal", todo=todo)
    if not agrees(question):
        raise UsageError("nothing was written")


def agrees(question: str) -> bool:
    """Whether a person at the terminal answers yes; without a terminal, no."""
    if not has_terminal():
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except (EOFError, UnicodeDecodeError):
        return False


def has_terminal() -> bool:
    """Whether a person can answer."""
    return sys.stdin is not None and sys.stdin.isatty()  # None: it is closed.
