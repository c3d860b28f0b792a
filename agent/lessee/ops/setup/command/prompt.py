"""Prompts the operator at the terminal."""

from getpass import getpass

from lessee.core.errors import LesseeError, UsageError
from lessee.host.console import has_terminal


def ask(where: str) -> str:
    """Ask for a secret value without echo. Raises LesseeError."""
    if not has_terminal():
        raise LesseeError("the value must be typed, and there is no terminal", where=where, todo="run it in a terminal")
    try:
        typed = getpass(f"{where} = ")
    except EOFError:
        typed = ""
    except UnicodeDecodeError:
        raise LesseeError("the typed value is not UTF-8 text", where=where) from None
    if not typed:
        raise LesseeError("no value was typed", where=where)
    return typed


def confirm(what: str, name: str) -> None:
    """Ask for confirmation. Raises UsageError unless the name is typed."""
    if not has_terminal():
        raise UsageError("cannot ask for confirmation: there is no terminal", todo="add --yes")
    try:
        typed = input(f"{what}; type {name} to remove it: ")
    except (EOFError, UnicodeDecodeError):
        typed = ""
    if typed.strip() != name:
        raise UsageError("nothing was removed: the typed text is not the environment's name")


def agree(what: str, effect: str) -> bool:
    """Whether "yes" is typed; without a terminal, nothing is asked, and it is not."""
    if not has_terminal():
        return False
    try:
        return input(f"{what}\ntype yes to {effect}, or Enter to leave them: ").strip() == "yes"
    except (EOFError, UnicodeDecodeError):
        return False
