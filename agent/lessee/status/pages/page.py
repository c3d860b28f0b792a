"""A view as an HTML page, with landmarks, headings and tables for screen readers, and with all texts escaped."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from lessee.status.pages.components import Cell, Fact, Row, Table, View
from lessee.status.pages.grouping import MAX_GROUPS, Group, Layout, Selection, layouts, query, select

RELOAD_INTERVAL = 5
"""Seconds after which a browser without JavaScript reloads the page."""
_SHORT = 15
"""Characters of a text that is not wrapped: a number, a word, an address."""
_MAX_PROBLEMS, _MAX_PROBLEMS_OPEN = 200, 5
"""Problems on the page, and those of them that it lists without a click."""
_EVERYTHING = Selection()
# For users who see no colors; screen readers read the text itself.
_MARKS: Mapping[str, str] = {"good": "✓", "warn": "!", "bad": "✕"}


def render_page(view: View, *, style: str, script: str, selection: Selection = _EVERYTHING) -> str:
    """The whole document. `style` and `script` are part of lessee, and are not escaped."""
    title = " · ".join(filter(None, ("lessee", view.service, view.environment)))
    tables = tuple(layouts(select(view, selection).tables, selection))
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(view.summary.text)} · {escape(title)}</title>\n",
            '<link rel="icon" href="data:,">\n',
            f'<noscript><meta http-equiv="refresh" content="{RELOAD_INTERVAL}"></noscript>\n',
            f"<style>{style}</style>\n</head>\n<body>\n",
            *_header(view, _announced(view, tables, selection)),
            '<main id="main">\n',
            *_selected(tables, selection),
            *_problems(view),
            *_facts("facts", "Overview", view.facts),
            *(part for table in tables for part in _section(table, selection)),
            *_facts("totals", "Totals since start", view.totals),
            "</main>\n",
            *_footer(view),
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _announced(view: View, tables: Sequence[Layout], selection: Selection) -> str:
    """What a screen reader announces when it changes; relative times are not part of it."""
    matches = f" {_matches(tables)}." if selection.words else ""
    return f"{view.summary.text}. {_problem_count(len(view.problems))}{matches}"


def _matches(tables: Sequence[Layout]) -> str:
    count = sum(table.count for table in tables)
    return f"{count:,} row{'s' * (count != 1)} match{'es' * (count == 1)}"


def _selected(tables: Sequence[Layout], selection: Selection) -> Iterator[str]:
    if selection.words:
        yield f'<p id="selected">{_matches(tables)} “{escape(selection.text)}”. <a href="?">Remove the filter</a></p>\n'
    elif selection.group:
        yield '<p id="selected">One group is listed. <a href="?">List all groups</a></p>\n'


def _header(view: View, announcement: str) -> Iterator[str]:
    yield '<header id="top">\n'
    yield f'<p class="name">lessee <span>{escape(view.service)}</span></p>\n'
    if view.environment:
        yield f'<p class="where"><span class="visually-hidden">Environment </span>{escape(view.environment)}</p>\n'
    yield f'<h1 id="summary" class="{view.summary.tone}">{_marked(view.summary)}</h1>\n'
    yield f'<p class="lead">{escape(view.summary.note)}</p>\n'
    yield f'<p id="announcement" class="visually-hidden" role="status">{escape(announcement)}</p>\n'
    yield '<nav aria-label="Sections"><ul>\n'
    for table in view.tables:
        yield f'<li><a href="#{table.key}">{escape(table.title)}</a></li>\n'
    yield "</ul></nav>\n</header>\n"


def _problem_count(problems: int) -> str:
    return "No problems." if not problems else f"{problems} problem{'s' * (problems != 1)}."


def _problems(view: View) -> Iterator[str]:
    if view.problems:
        yield '<section id="problems" class="problems" aria-labelledby="problems-title">\n'
        yield '<h2 id="problems-title">Problems</h2>\n<ul>\n'
        yield from _items(view.problems[:_MAX_PROBLEMS_OPEN])
        yield "</ul>\n"
        if more := view.problems[_MAX_PROBLEMS_OPEN:]:
            yield f'<details id="more-problems"><summary><span>{len(more):,} more</span></summary>\n<ul>\n'
            yield from _items(more[:_MAX_PROBLEMS])
            yield "</ul>\n</details>\n"
        yield "</section>\n"


def _items(texts: Sequence[str]) -> Iterator[str]:
    return (f"<li>{escape(text)}</li>\n" for text in texts)


def _facts(key: str, title: str, facts: tuple[Fact, ...]) -> Iterator[str]:
    if facts:
        yield f'<section id="{key}" class="facts" aria-labelledby="{key}-title">\n'
        yield f'<h2 id="{key}-title">{title}</h2>\n<dl>\n'
        for fact in facts:
            yield f'<div><dt>{escape(fact.name)}</dt><dd class="{fact.cell.tone}">{_content(fact.cell)}</dd></div>\n'
        yield "</dl>\n</section>\n"


def _section(layout: Layout, selection: Selection) -> Iterator[str]:
    table = layout.table
    counted = layout.is_grouped or bool(selection.words)
    count = f' <span class="count">{layout.count:,}</span>' if counted else ""
    yield f'<section id="{table.key}" aria-labelledby="{table.key}-title">\n'
    yield f'<h2 id="{table.key}-title">{escape(table.title)}{count}</h2>\n'
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>\n'
    if not table.rows:
        yield f'<p class="empty">{"No row matches." if selection.words else escape(table.empty)}</p>\n'
    elif not layout.is_grouped:
        yield from _table(table, table.rows, f"{table.key}-title", linked=bool(selection.words))
    elif not layout.groups:
        yield '<p class="empty">This group has no row now.</p>\n'
    yield from (part for group in layout.groups[:MAX_GROUPS] for part in _group(group, table))
    if more := layout.groups[MAX_GROUPS:]:
        rows = sum(len(group.rows) + group.omitted for group in more)
        yield f'<details id="more-{table.key}"><summary><span>{len(more):,} more groups</span> '
        yield f'<span class="tally">{rows:,}</span></summary>\n'
        yield from (part for group in more for part in _group(group, table))
        yield "</details>\n"
    yield "</section>\n"


def _group(group: Group, table: Table) -> Iterator[str]:
    # A link to the inner element opens the group, in most browsers also without script.
    opened = " open" if group.is_open else ""
    yield f'<details class="group" id="group-{group.key}"{opened}><summary>'
    name = _marked(Cell(group.label, group.tone))
    yield f'<span id="title-{group.key}" class="{group.tone}">{name}</span> '
    yield f'<span class="tally">{escape(group.tallies)}</span></summary>\n<div id="{group.key}">\n'
    yield from _table(table, group.rows, f"{table.key}-title title-{group.key}", linked=True)
    if group.omitted:
        yield f'<p class="more">{group.omitted:,} more: <a href="?group={group.key}#{group.key}">list all</a></p>\n'
    yield "</div></details>\n"


def _table(table: Table, rows: Sequence[Row], title: str, *, linked: bool) -> Iterator[str]:
    # Explicit roles, because the elements lose theirs when a narrow screen displays them as cards.
    yield f'<table role="table" aria-labelledby="{title}">\n<thead role="rowgroup"><tr role="row">'
    yield from (f'<th scope="col" role="columnheader">{escape(column)}</th>' for column in table.columns)
    yield '</tr></thead>\n<tbody role="rowgroup">\n'
    for row in rows:
        yield '<tr role="row">'
        for number, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            tag, role = ('th scope="row"', "rowheader") if number == 0 else ("td", "cell")
            label = f' data-label="{escape(column)}"'
            classes = f"{cell.tone} short".strip() if len(cell.text) <= _SHORT else cell.tone
            content = _content(cell)
            if number == 0 and linked:
                content = f'<a href="?{escape(query(row, table))}#{table.key}">{content}</a>'
            yield f'<{tag} role="{role}" class="{classes}"{label}><div>{content}</div></{tag[:2]}>'
        yield "</tr>\n"
    yield "</tbody>\n</table>\n"


def _content(cell: Cell) -> str:
    notes = "".join(f" <small>{escape(note)}</small>" for note in (cell.note, cell.transient) if note)
    if cell.at is None:
        return f"{_marked(cell)}{notes}"
    at = escape(cell.at)
    return f'<time datetime="{at}" title="{at}">{_marked(cell)}</time>{notes}'


def _marked(cell: Cell) -> str:
    mark = _MARKS.get(cell.tone)
    prefix = f'<span class="mark" aria-hidden="true">{mark}</span> ' if mark else ""
    return f"{prefix}{escape(cell.text)}"


def _footer(view: View) -> Iterator[str]:
    at = datetime.fromtimestamp(view.at, UTC)
    yield '<footer id="bottom">\n'
    yield f'<p>As of <time datetime="{at.isoformat()}">{at:%Y-%m-%d %H:%M:%S} UTC</time> · '
    yield f"lessee {escape(view.version)} · secret values are never displayed</p>\n</footer>\n"
