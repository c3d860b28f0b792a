"""Words that options take, and how a command is added."""

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn, Protocol

from lessee.core.errors import UsageError

_LEVELS = ("debug", "info", "warning", "error")
_FORMS = ("text", "json")
_MASKS = ("github",)


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would end the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, todo=f"see `{self.prog} --help`")


class Command(Protocol):
    """Adds a command: its name, what it does in a few words, and more of it; `config`: it reads lessee.yaml."""

    def __call__(self, name: str, short: str, long: str = "", *, config: bool = True) -> argparse.ArgumentParser: ...


def duration(text: str) -> float:
    """In seconds; `10s`, `5m` and the like."""
    # Its package is the whole grammar of the configuration, which not every command needs.
    from lessee.config.durations import seconds

    try:
        return seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 500ms, 10s or 5m") from None


def moment(text: str) -> float:
    """A date or a time in RFC 3339, as seconds since 1970; UTC, unless it says another zone."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-28 or 2026-11-28T12:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def add_logging(parser: argparse.ArgumentParser) -> None:
    """What is logged, and how."""
    parser.add_argument(
        "--log-level",
        choices=_LEVELS,
        default=_from_environment("LESSEE_LOG_LEVEL", _LEVELS) or "info",
        help="what is logged to stderr (info, or $LESSEE_LOG_LEVEL)",
    )
    parser.add_argument(
        "--log-format",
        choices=_FORMS,
        default=_from_environment("LESSEE_LOG_FORMAT", _FORMS),
        help="text on a terminal, else json (or $LESSEE_LOG_FORMAT)",
    )


def add_masking(parser: argparse.ArgumentParser) -> None:
    """How values are kept out of a job's log."""
    parser.add_argument(
        "--mask",
        choices=_MASKS,
        default=_from_environment("LESSEE_MASK", _MASKS),
        help="tell GitHub's runner all values first, on stderr, so that no log shows them (or $LESSEE_MASK)",
    )


def _from_environment(name: str, choices: Sequence[str]) -> str | None:
    """Argparse would not look at a default's choices."""
    value = os.environ.get(name) or None
    if value is not None and value not in choices:
        raise UsageError(f"${name} is none of {', '.join(choices)}", todo="set it to one of them, or unset it")
    return value
