"""What `lessee dev` prints in addition to its results, and what it asks."""

import argparse
import shlex
import sys

from lessee.core.errors import UsageError
from lessee.ops.dev.folder import DevFolder


def confirm(word: str, done: str, what: str = "") -> None:
    """Ask for a word. Raises UsageError."""
    if sys.stdin is None or not sys.stdin.isatty():  # None: it is closed.
        raise UsageError("cannot ask for confirmation: there is no terminal", todo="add --yes")
    try:
        typed = input(f"{what}{'; ' * bool(what)}type {word} to continue: ")
    except (EOFError, UnicodeDecodeError):
        typed = ""
    if typed.strip() != word:
        raise UsageError(f"nothing was {done}: {word} was not typed")


def options(arguments: argparse.Namespace, folder: DevFolder) -> str:
    """What names the folder in the commands that are printed."""
    return f" --directory {shlex.quote(str(folder.path))}" if arguments.directory else ""


def say(text: str) -> None:
    """Print a line to stderr."""
    print(f"lessee: {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    say(f"warning: {text}")
