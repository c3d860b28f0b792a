"""The parts of what is shown: facts, and tables of cells."""

from collections.abc import Iterable
from typing import Literal

from lessee.core.immutable import Record
from lessee.status.pages.time_format import shown, since

Tone = Literal["", "good", "warn", "bad", "quiet"]
"""How a text is meant; it says so itself, too, for who sees no colours."""
MOST = 200
"""Rows of a table: the rest is in status.json."""
NONE = "–"  # noqa: RUF001  # A dash is meant.


class Cell(Record, frozen=True):
    """A text, what explains it, and what of that changes as time goes by.

    `at` is the moment that the text is about, as RFC 3339; `before` is what of the text stands before its words.
    """

    text: str
    tone: Tone = ""
    at: str | None = None
    before: str = ""
    note: str = ""
    passing: str = ""


class Fact(Record, frozen=True):
    """One thing of many, by its name."""

    name: str
    cell: Cell


class Table(Record, frozen=True):
    """Rows whose first cell names them. `key` is its place in the page; `empty` is said where there is no row."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str


class View(Record, frozen=True):
    """All of it. `at` is when the status was asked for, in seconds since 1970."""

    service: str
    version: str
    environment: str
    standing: Cell
    facts: tuple[Fact, ...]
    problems: tuple[str, ...]
    tables: tuple[Table, ...]
    totals: tuple[Fact, ...]
    at: float


def table(key: str, title: str, columns: tuple[str, ...], rows: Iterable[tuple[Cell, ...]], empty: str) -> Table:
    """Of very many rows, those that are in trouble first, and then those that come first."""
    said = tuple(rows)
    if len(said) <= MOST:
        return Table(key, title, columns, said, empty)
    first = sorted(said, key=lambda row: all(cell.tone != "bad" for cell in row))[:MOST]
    return Table(key, f"{title} ({MOST} of {len(said):,})", columns, tuple(first), empty)


def cell(text: object, tone: Tone = "", *, note: object = "", passing: str = "") -> Cell:
    """Of anything: what is not there is a dash."""
    if text is None or text == "":
        text, tone = NONE, "quiet"
    return Cell(shown(text), tone, note=shown(note or ""), passing=passing)


def moment(
    at: str | None, now: float, tone: Tone = "", *, before: str = "", note: object = "", passing: str = ""
) -> Cell:
    """When something was, or will be."""
    if at is None:
        return cell(None, note=note, passing=passing)
    return Cell(f"{before}{since(at, now)}", tone, at, before, shown(note or ""), passing)
