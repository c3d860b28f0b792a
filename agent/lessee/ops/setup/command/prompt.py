"""Asks the operator at the terminal."""

import sys
from getpass import getpass

from lessee.core.errors import LesseeError, UsageError


def ask(where: str) -> str:
    """Of a secret, without showing it. Raises LesseeError."""
    if not _is_there():
        raise LesseeError("it is asked for, and there is no terminal", where=where, todo="run it at one")
    try:
        typed = getpass(f"{where} = ")
    except EOFError:
        typed = ""
    except UnicodeDecodeError:
        raise LesseeError("what was typed is not UTF-8 text", where=where) from None
    if not typed:
        raise LesseeError("nothing was typed", where=where)
    return typed


def confirm(what: str, name: str) -> None:
    """Raises UsageError unless the name is typed."""
    if not _is_there():
        raise UsageError("it cannot be asked whether this is meant: there is no terminal", todo="add --yes")
    try:
        typed = input(f"{what}; type {name} to remove it: ")
    except (EOFError, UnicodeDecodeError):
        typed = ""
    if typed.strip() != name:
        raise UsageError("nothing was removed: what was typed is not the environment's name")


def _is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # None: it was closed.
