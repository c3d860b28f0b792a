"""The parts of a view: facts, and tables of cells."""

from collections.abc import Iterable
from typing import Literal

from lessee.core.immutable import ImmutableStruct, replace
from lessee.status.pages.time_format import printable, relative_time

Tone = Literal["", "good", "warn", "bad", "quiet"]
"""The color of a text. The text itself has the same meaning, for users who see no colors."""
MAX_ROWS = 200
"""Rows of a table on a terminal; status.json has all of them."""
DASH = "–"  # noqa: RUF001  # An en dash is intended.


class Cell(ImmutableStruct, frozen=True):
    """A text, a note that explains it, and a transient note that changes with time.

    `at` is the timestamp of a text about a time, in RFC 3339; `prefix` is the part of the text before that time.
    """

    text: str
    tone: Tone = ""
    at: str | None = None
    prefix: str = ""
    note: str = ""
    transient: str = ""


Row = tuple[Cell, ...]


class Fact(ImmutableStruct, frozen=True):
    """A named value."""

    name: str
    cell: Cell


class Table(ImmutableStruct, frozen=True):
    """Rows with their name in the first cell. `key`: its id in the page; `empty`: the text of a table without rows.

    A page groups many rows by the text in the column `group_by`, or else by whether they have a problem, and counts the
    texts of the column `tally` in each group. The columns `names` identify a row. `note`: which rows the table has.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: str
    group_by: int | None = None
    tally: int | None = None
    names: tuple[int, ...] = (0,)
    note: str = ""


class View(ImmutableStruct, frozen=True):
    """The whole view. `at`: when the status was requested, in seconds since 1970."""

    service: str
    version: str
    environment: str
    summary: Cell
    facts: tuple[Fact, ...]
    problems: tuple[str, ...]
    tables: tuple[Table, ...]
    totals: tuple[Fact, ...]
    at: float


def table(
    key: str,
    title: str,
    columns: tuple[str, ...],
    rows: Iterable[Row],
    empty: str,
    *,
    group_by: int | None = None,
    tally: int | None = None,
    names: tuple[int, ...] = (0,),
) -> Table:
    """A table of all these rows."""
    return Table(key, title, columns, tuple(rows), empty, group_by, tally, names)


def shortened(table: Table) -> Table:
    """A table of at most MAX_ROWS rows: those with an error first, the others in their order."""
    if len(table.rows) <= MAX_ROWS:
        return table
    first = sorted(table.rows, key=lambda row: all(cell.tone != "bad" for cell in row))[:MAX_ROWS]
    return replace(table, title=f"{table.title} ({MAX_ROWS} of {len(table.rows):,})", rows=tuple(first))


def cell(text: object, tone: Tone = "", *, note: object = "", transient: str = "") -> Cell:
    """A cell with any text; a dash for a missing or empty one."""
    if text is None or text == "":
        text, tone = DASH, "quiet"
    return Cell(printable(text), tone, note=printable(note or ""), transient=transient)


def time_cell(
    at: str | None, now: float, tone: Tone = "", *, prefix: str = "", note: object = "", transient: str = ""
) -> Cell:
    """A cell with a time in the past or future, relative to now."""
    if at is None:
        return cell(None, note=note, transient=transient)
    return Cell(f"{prefix}{relative_time(at, now)}", tone, at, prefix, printable(note or ""), transient)
