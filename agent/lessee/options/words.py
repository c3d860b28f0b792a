"""Words that options take, and how a command is added."""

import argparse
from typing import NoReturn, Protocol

from lessee.core.errors import UsageError


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
    from lessee.core.config.durations import seconds

    try:
        return seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 500ms, 10s or 5m") from None


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
