"""Standard output that takes every character, whatever its encoding."""

import sys
from io import TextIOWrapper


def escape_unknown(encoding: str | None = None) -> None:
    r"""What the encoding (default: the terminal's) cannot say is written as an escape, such as \u2026."""
    if isinstance(sys.stdout, TextIOWrapper):  # It is None where it was closed.
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
