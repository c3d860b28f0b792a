"""The parts of what is shown: facts, and tables of cells."""

from typing import Literal

from lessee.core.panel.words import shown, since
from lessee.core.record import Record

Tone = Literal["", "good", "warn", "bad", "quiet"]
"""How a text is meant; it says so itself, too, for who sees no colours."""
NONE = "–"  # noqa: RUF001  # A dash is meant.


class Cell(Record, frozen=True):
    """A text; `at` is the moment that it is about, as RFC 3339, and `note` what explains it."""

    text: str
    tone: Tone = ""
    at: str | None = None
    note: str = ""


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


def cell(text: object, tone: Tone = "", *, note: object = "") -> Cell:
    """Of anything: what is not there is a dash."""
    if text is None or text == "":
        return Cell(NONE, "quiet", note=shown(note or ""))
    return Cell(shown(text), tone, note=shown(note or ""))


def moment(at: str | None, now: float, tone: Tone = "", *, before: str = "", note: object = "") -> Cell:
    """When something was, or will be."""
    if at is None:
        return cell(None, note=note)
    return Cell(f"{before}{since(at, now)}", tone, at, shown(note or ""))
