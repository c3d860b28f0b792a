"""The argument parser, and the argument types and options that several commands share."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, NoReturn, Protocol

from lessee.core.errors import UsageError

_LOG_LEVELS = ("debug", "info", "warning", "error")
_LOG_FORMATS = ("text", "json")
_MASKS = ("github",)
_OPTION = re.compile(r"(?:--[a-zA-Z][a-zA-Z-]+|-[a-zA-Z])(?:=|$)")
_LONGEST_NAME = 40
"""Characters of a name that is compared and repeated."""
EXIT_CODES = {
    0: "done",
    1: "a finding, or an app that is not ready",
    64: "usage",
    65: "template or archive",
    69: "Vault or agent unavailable",
    70: "internal error",
    71: "cannot protect its memory",
    73: "cannot write",
    75: "app not notified or work incomplete",
    77: "denied",
    78: "configuration",
    130: "interrupted",
    141: "output closed by its reader",
}
"""Those of sysexits(3), and of shells."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of exiting, and names what the user may have meant.

    An error names commands and options alone: anything else may be a value that belongs elsewhere.
    """

    commands: "argparse._SubParsersAction[Parser] | None" = None
    """The commands, or the actions of a command."""
    _words: Sequence[str] = ()

    def add_subparsers(self, **options: Any) -> "argparse._SubParsersAction[Parser]":  # type: ignore[override]  # It has overloads.
        """As its base class."""
        self.commands = super().add_subparsers(**options)
        return self.commands

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As its base class."""
        self._words = list(args or ())
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As its base class."""
        parsed, extra = self.parse_known_args(args, namespace)
        if extra:
            # Only the topmost parser finds these.
            options = [word.partition("=")[0] for word in extra if _OPTION.match(word)]
            self.chosen(parsed).refuse(options, is_file=extra[0].endswith((".yaml", ".yml")))
        return parsed

    def chosen(self, parsed: argparse.Namespace) -> "Parser":
        """The parser of the command and action in the parsed arguments."""
        name = getattr(parsed, self.commands.dest, None) if self.commands is not None else None
        return self.commands.choices[name].chosen(parsed) if self.commands is not None and name else self

    def refuse(self, options: Sequence[str], *, is_file: bool = False) -> NoReturn:
        """Raise UsageError for these unknown options; without any, for too many arguments, or for one YAML file."""
        if not options and is_file and "--config" in self._option_string_actions:
            what = "the command takes no file as an argument"
            raise UsageError(what, todo=f"name the configuration by `{self.prog} --config FILE`")
        if not options:
            raise UsageError("more arguments than the command takes", todo=f"see `{self.prog} --help`")
        names = ", ".join(f"`{name}`" for name in options)
        similar = _similar(options[0], self._option_string_actions) if len(options) == 1 else ""
        todo = f"did you mean `{similar}`?" if similar else f"see `{self.prog} --help`"
        raise UsageError(f"unknown option{'s' * (len(options) > 1)} {names}", todo=todo)

    def refuse_unknown(self, option: str) -> None:
        """Raise UsageError if the command does not have this option."""
        if option not in self._option_string_actions:
            self.refuse([option])

    def error(self, message: str) -> NoReturn:
        if "required" in message and (unknown := self._unknown_options()):
            self.refuse(unknown)  # Such as a mistyped one of those that are required.
        raise UsageError(message, todo=f"see `{self.prog} --help`")

    def _unknown_options(self) -> list[str]:
        words = [word.partition("=")[0] for word in takewhile(lambda word: word != "--", self._words)]
        return [word for word in words if _OPTION.match(word) and word not in self._option_string_actions]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        if action is not self.commands:
            similar, known = _similar(str(value), choices), ", ".join(f"`{choice}`" for choice in choices)
            todo = f"did you mean `{similar}`?" if similar else f"expected one of {known}"
            where = (action.option_strings or [str(action.metavar)])[-1]
            raise UsageError("unknown value", where=where, todo=todo)
        kind = str(action.metavar).lower()
        if unknown := self._unknown_options()[:1]:
            name = next((word for word in self._words if word in choices), action.metavar)
            if name in choices:
                action.choices[name].refuse_unknown(unknown[0])
            todo = f"write options after the {kind}, as in `{self.prog} {name} {unknown[0]}`"
            raise UsageError(f"unknown option `{unknown[0]}` before the {kind}", todo=todo)
        similar = _similar(str(value), [*choices, *self._option_string_actions])
        todo = f"did you mean `{similar}`?" if similar else f"see `{self.prog} --help`"
        raise UsageError(f"unknown {kind} `{str(value)[:_LONGEST_NAME]}`", todo=todo)


def _similar(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one; empty if none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name[:_LONGEST_NAME].lower(), list(known), n=1)), "")


def exit_codes() -> str:
    """The exit codes, as a paragraph of a command's help."""
    return f"exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}"


class AddCommand(Protocol):
    """Adds a command to the parser. `config`: the command has a --config option."""

    def __call__(
        self, name: str, summary: str, details: str = "", *, config: bool = True
    ) -> argparse.ArgumentParser: ...


def duration(text: str) -> float:
    """Seconds from a duration such as `10s` or `5m`."""
    # This import loads the whole configuration grammar, which not every command needs.
    from lessee.config.durations import seconds

    try:
        return seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 500ms, 10s or 5m") from None


def timestamp(text: str) -> float:
    """Seconds since 1970 from a date, or a time in RFC 3339. Without a zone it is UTC."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-11-28 or 2026-11-28T12:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def time_before(text: str) -> float:
    """Seconds since 1970 from a date, a time in RFC 3339, or a duration before now such as `24h`."""
    import time

    from lessee.config.durations import seconds

    try:
        return time.time() - seconds(text)
    except ValueError:
        pass
    try:
        return timestamp(text)
    except argparse.ArgumentTypeError:
        what = f"{text!r} is no time such as 2026-11-28 or 2026-11-28T12:00:00Z, and no duration such as 24h"
        raise argparse.ArgumentTypeError(what) from None


def positive_integer(text: str) -> int:
    """An integer above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer above 0")
    return int(text)


def port(text: str) -> int:
    """A port of TCP."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:  # noqa: PLR2004  # The largest 16-bit number.
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add --config, the path of lessee.yaml."""
    parser.add_argument("--config", metavar="FILE", default=default, help="the configuration file (lessee.yaml)")


def add_actions(
    command: argparse.ArgumentParser, *, required: bool = True
) -> Callable[[str, str], argparse.ArgumentParser]:
    """A function that adds an action to a command, such as `save` to `lessee backup`, by its name and summary.

    A command whose actions are not `required` has a --config of its own.
    """
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=required, parser_class=Parser)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        action = actions.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=exit_codes(),
            allow_abbrev=False,
        )
        # None would replace the --config before the action.
        add_config(action, None if required else argparse.SUPPRESS)
        return action

    return add


def add_logging(parser: argparse.ArgumentParser) -> None:
    """Add --log-level and --log-format."""
    parser.add_argument(
        "--log-level",
        choices=_LOG_LEVELS,
        default=_from_environment("LESSEE_LOG_LEVEL", _LOG_LEVELS) or "info",
        help="the lowest level to log to stderr (default: $LESSEE_LOG_LEVEL, or info)",
    )
    parser.add_argument(
        "--log-format",
        choices=_LOG_FORMATS,
        default=_from_environment("LESSEE_LOG_FORMAT", _LOG_FORMATS),
        help="the log format (default: $LESSEE_LOG_FORMAT, or text on a terminal and json elsewhere)",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add --quiet, for a command that shows its progress."""
    parser.add_argument("--quiet", action="store_true", help="show no progress on stderr")


def add_masking(parser: argparse.ArgumentParser) -> None:
    """Add --mask, which has a CI runner mask secret values in the job's log."""
    parser.add_argument(
        "--mask",
        choices=_MASKS,
        default=_from_environment("LESSEE_MASK", _MASKS),
        help="register all secret values with GitHub's runner, so that it masks them in the job's log"
        " (default: $LESSEE_MASK)",
    )


def _from_environment(name: str, choices: Sequence[str]) -> str | None:
    """The variable's value, checked here because argparse does not check a default. Raises UsageError."""
    value = os.environ.get(name) or None
    if value is not None and value not in choices:
        raise UsageError(f"${name} must be one of {', '.join(choices)}", todo="set it to one of them, or unset it")
    return value
