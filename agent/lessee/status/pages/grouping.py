"""Keeps a page short: filters the rows of its tables, and groups the rows of long ones."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Self
from urllib.parse import quote_plus

from lessee.core.immutable import ImmutableStruct, replace
from lessee.status.pages.components import Row, Table, Tone, View
from lessee.status.pages.time_format import printable

SHORT_PAGE, LONG_PAGE = 20, 100
"""Rows of a page."""
MAX_UNGROUPED, MAX_UNGROUPED_IF_LONGER, MAX_UNGROUPED_IF_LONG = 10, 4, 1
"""Rows of a table that is not grouped: on a page of up to SHORT_PAGE rows, of up to LONG_PAGE, and of more."""
MAX_LISTED = 10
"""Rows that a group lists; a link leads to the page with all of them."""
MAX_LISTED_ALONE = 1000
"""Rows of a group on its own page, and of the groups that a filter leaves."""
MAX_GROUPS = 8
"""Groups of a table that a page lists; the others are in a group of groups."""
_MAX_TALLIES = 3
_MAX_WORDS, _MAX_TEXT = 10, 200
_TONES: Sequence[Tone] = ("bad", "warn", "", "good", "quiet")
"""The worst first."""


class Selection(ImmutableStruct, frozen=True):
    """What a page lists: the rows with all words of a text, and of one table a single group, by its key."""

    text: str = ""
    group: str = ""

    @classmethod
    def of(cls, text: str, group: str) -> Self:
        """The selection of a request, which may contain anything."""
        return cls(printable(text[:_MAX_TEXT]), group[:_MAX_TEXT])

    @property
    def words(self) -> tuple[str, ...]:
        """The words that a row must contain, in any case."""
        return tuple(self.text.casefold().split()[:_MAX_WORDS])


class Group(ImmutableStruct, frozen=True):
    """Rows of a table with the same text in one column. `omitted`: how many more the status has."""

    key: str
    label: str
    tone: Tone
    tallies: str
    rows: tuple[Row, ...]
    omitted: int
    is_open: bool


class Layout(ImmutableStruct, frozen=True):
    """How a page displays a table: its rows, or groups of them. `count`: the rows that the selection leaves."""

    table: Table
    count: int
    groups: tuple[Group, ...]
    is_grouped: bool


def select(view: View, selection: Selection) -> View:
    """The view with only the rows that contain all words."""
    words = selection.words
    if not words:
        return view
    tables = (replace(one, rows=tuple(row for row in one.rows if _matches(row, words))) for one in view.tables)
    return replace(view, tables=tuple(tables))


def layouts(tables: Sequence[Table], selection: Selection) -> Iterator[Layout]:
    """The layout of each table, in their order: together they are short, however many rows there are."""
    rows = sum(len(table.rows) for table in tables)
    limit = MAX_UNGROUPED if rows <= SHORT_PAGE else MAX_UNGROUPED_IF_LONGER
    limit = MAX_UNGROUPED_IF_LONG if rows > LONG_PAGE else limit
    for table in tables:
        is_grouped = len(table.rows) > limit
        yield Layout(table, len(table.rows), tuple(_groups(table, selection)) if is_grouped else (), is_grouped)


def query(row: Row, table: Table) -> str:
    """The query of the page with this row."""
    return f"q={quote_plus(' '.join(row[index].text for index in table.names))}"


def _matches(row: Row, words: Iterable[str]) -> bool:
    text = "\n".join(f"{cell.text}\n{cell.note}" for cell in row).casefold()
    return all(word in text for word in words)


def _groups(table: Table, selection: Selection) -> Iterator[Group]:
    by_label: dict[str, list[Row]] = {}
    for row in table.rows:
        by_label.setdefault(_label(row, table.group_by), []).append(row)
    keys = {f"{table.key}-title"}  # The id of the table's heading.
    # Not by size: a group keeps its place while its size changes.
    for label, rows in sorted(by_label.items(), key=lambda item: (_TONES.index(_worst(item[1])), item[0])):
        key = _unique(f"{table.key}-{_slug(label)}", keys)
        is_alone = key == selection.group
        if selection.group.startswith(f"{table.key}-") and not is_alone:
            continue
        is_selected = is_alone or bool(selection.words)
        listed = MAX_LISTED_ALONE if is_selected else MAX_LISTED
        worst_first = sorted(rows, key=_tone_of)[:listed]
        is_open = is_alone or (is_selected and len(table.rows) <= SHORT_PAGE)
        yield Group(
            key,
            label,
            _worst(rows),
            _tallies(rows, table.tally),
            tuple(worst_first),
            len(rows) - len(worst_first),
            is_open,
        )


def _label(row: Row, column: int | None) -> str:
    if column is not None:
        return row[column].text
    return "With problems" if _TONES[_tone_of(row)] else "Without problems"


def _worst(rows: Iterable[Row]) -> Tone:
    return _TONES[min(map(_tone_of, rows))]


def _tone_of(row: Row) -> int:
    # What is good or quiet in one cell says nothing of the whole row.
    return min(_TONES.index(cell.tone) if cell.tone in {"bad", "warn"} else _TONES.index("") for cell in row)


def _tallies(rows: Sequence[Row], column: int | None) -> str:
    if column is None:
        return f"{len(rows):,}"
    counts = Counter(row[column].text for row in rows).most_common()
    listed = [f"{number:,} {text}" for text, number in counts[:_MAX_TALLIES]]
    others = sum(number for _, number in counts[_MAX_TALLIES:])
    return ", ".join([*listed, f"{others:,} others"] if others else listed)


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60] or "other"


def _unique(key: str, keys: set[str]) -> str:
    found, number = key, 2
    while found in keys:
        found, number = f"{key}-{number}", number + 1
    keys.add(found)
    return found
