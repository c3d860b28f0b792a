"""The commands with their options as data, read from the parsers: for completion and man pages."""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from lessee.cli.options.shared import Parser

FILE, DIRECTORY, PROGRAM, CHOICE, APP, TEXT = "file", "directory", "program", "choice", "app", "text"
_KINDS = {"FILE": FILE, "COMPOSE-FILE": FILE, "DIR": DIRECTORY, "CMD": PROGRAM, "APP": APP}
_OTHER_KINDS: dict[tuple[tuple[str, ...], str], str] = {(("scan",), "path"): FILE, (("read",), "files"): TEXT}
"""Where the name of the argument does not say it."""


class Argument(NamedTuple):
    """An option, or an argument that has no option (`names` is empty)."""

    names: tuple[str, ...]
    metavar: str
    """What it takes, as the help names it; empty for an option without a value."""
    kind: str
    choices: tuple[str, ...]
    help: str
    least: int
    """How many values it needs."""
    is_open: bool
    """Whether it takes any number of values."""
    repeats: bool
    """Whether the option may be given several times."""
    group: str
    """The heading of the help that it is under; empty for the usual one."""


class Command(NamedTuple):
    """A command or an action of one; the topmost is `lessee` itself, without words."""

    words: tuple[str, ...]
    summary: str
    description: str
    epilog: str
    usage: str
    options: tuple[Argument, ...]
    positionals: tuple[Argument, ...]
    actions: "tuple[Command, ...]"

    def all(self) -> "Iterator[Command]":
        """Itself, and all commands below it."""
        yield self
        for action in self.actions:
            yield from action.all()


def command_tree(parser: Parser, words: tuple[str, ...] = (), summary: str = "") -> Command:
    """The commands of a parser."""
    arguments = [
        _argument(words, action, _heading(parser, action))
        for action in parser._actions  # noqa: SLF001  # argparse has no public list of them.
        if action is not parser.commands and action.help != argparse.SUPPRESS
    ]
    return Command(
        words,
        summary,
        parser.description or "",
        parser.epilog or "",
        parser.format_usage().partition(": ")[2].strip(),
        tuple(one for one in arguments if one.names),
        tuple(one for one in arguments if not one.names),
        tuple(_commands_below(parser, words)),
    )


def _commands_below(parser: Parser, words: tuple[str, ...]) -> Iterator[Command]:
    if parser.commands is None:
        return
    summaries = {one.dest: one.help or "" for one in parser.commands._get_subactions()}  # noqa: SLF001  # As above.
    for name, command in parser.commands.choices.items():
        yield command_tree(command, (*words, name), summaries[name])


def _heading(parser: Parser, action: argparse.Action) -> str:
    titles = (one.title for one in parser._action_groups[2:] if action in one._group_actions)  # noqa: SLF001  # As above.
    return next(titles, None) or ""


def _argument(words: tuple[str, ...], action: argparse.Action, group: str) -> Argument:
    takes = action.nargs != 0
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices = tuple(map(str, action.choices or ()))
    kind = CHOICE if choices else _OTHER_KINDS.get((words, action.dest), _KINDS.get(name, TEXT))
    return Argument(
        tuple(action.option_strings),
        ("{" + ",".join(choices) + "}" if choices else name) * takes,
        kind,
        choices,
        _help(action),
        0 if action.nargs in {0, "?", "*"} else 1,
        action.nargs in {"+", "*"},
        isinstance(action, argparse._AppendAction),  # noqa: SLF001  # Its name `append` cannot be read from it.
        group,
    )


def _help(action: argparse.Action) -> str:
    values: dict[str, Any] = {"prog": "lessee", "default": action.default}
    return (action.help or "") % values


def spelling(argument: Argument) -> str:
    """The values of an argument as a usage has them: `FILE`, `[TIME]`, `FILE …`."""
    text = f"{argument.metavar} …" if argument.is_open else argument.metavar
    return f"[{text}]" if text and argument.least == 0 else text


def title(command: Command) -> str:
    """The command as a user types it."""
    return " ".join(("lessee", *command.words))
