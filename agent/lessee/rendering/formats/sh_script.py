"""A shell script, cut into pieces."""

import re

from lessee.core.immutable import Record

RUNS = frozenset({"bare", "double", "here"})
"""Kinds of pieces that are as long as they can be: no two of a kind are side by side."""


class Piece(Record, frozen=True):
    """A part of a script; side by side they are the script.

    `kind` is one of bare (text outside quotes), head (the name left of `=`), single ('…' with its quotes), double
    (text inside "…"), here (text of a here-document), raw (that of one with a quoted delimiter), comment; or one of
    those in which no value has a place: variable, braces (${…}), arithmetic, backticks, ansi ($'…'), test ([[ … ]]),
    delimiter; or code, which is all the rest.
    """

    kind: str
    text: str
    at: int


class Word(Record, frozen=True):
    """A word of a command, as it is written from `at` to `end`, but for the commands inside $( ) in it."""

    text: str
    at: int
    end: int


class Herald(Record, frozen=True):
    """What says that a here-document will come."""

    delimiter: str
    raw: bool
    without_tabs: bool
    at: int


class Body(Record, frozen=True):
    """The lines of a here-document, and which line ends them."""

    text: str
    last: re.Pattern[str]
    without_tabs: bool


class Script(Record, frozen=True):
    """A script, read. Of its commands one may be a redirection: `>` and its target."""

    pieces: list[Piece]
    commands: list[list[Word]]
    bodies: list[Body]


class UnclearError(Exception):
    """From here on, shells may read a script in different ways."""

    def __init__(self, what: str, todo: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.at = at
