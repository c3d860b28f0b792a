"""The argument parser, and the argument types and options that several commands share."""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from lessee.core.errors import UsageError

_LOG_LEVELS = ("debug", "info", "warning", "error")
_LOG_FORMATS = ("text", "json")
_MASKS = ("github",)
_OPTION = re.compile(r"(?:--[a-z][a-z-]+|-[a-z])(?:=|$)")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of exiting."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As its base class, but an error names options alone: anything else may be a value that belongs elsewhere."""
        parsed, extra = self.parse_known_args(args, namespace)
        if extra:
            names = [word.partition("=")[0] for word in extra if _OPTION.match(word)]
            words = " ".join(names)
            what = f"unrecognized arguments: {words}" if names else "more arguments than the command takes"
            # Only the topmost parser finds these.
            program = f"{self.prog} {command}" if (command := getattr(parsed, "command", None)) else self.prog
            raise UsageError(what, todo=f"see `{program} --help`")
        return parsed

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, todo=f"see `{self.prog} --help`")


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
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
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
