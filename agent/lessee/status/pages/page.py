"""A view as an HTML page, with landmarks, headings and tables for screen readers, and with all texts escaped."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import escape

from lessee.status.pages.components import Cell, Fact, Table, View

RELOAD_INTERVAL = 5
"""Seconds after which a browser without JavaScript reloads the page."""
_SHORT = 15
"""Characters of a text that is not wrapped: a number, a word, an address."""
# For users who see no colors; screen readers read the text itself.
_MARKS: Mapping[str, str] = {"good": "✓", "warn": "!", "bad": "✕"}


def render_page(view: View, *, style: str, script: str) -> str:
    """The whole document. `style` and `script` are part of lessee, and are not escaped."""
    title = " · ".join(filter(None, ("lessee", view.service, view.environment)))
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(view.summary.text)} · {escape(title)}</title>\n",
            '<link rel="icon" href="data:,">\n',
            f'<noscript><meta http-equiv="refresh" content="{RELOAD_INTERVAL}"></noscript>\n',
            f"<style>{style}</style>\n</head>\n<body>\n",
            *_header(view),
            '<main id="main">\n',
            *_problems(view),
            *_facts("facts", "Overview", view.facts),
            *(part for table in view.tables for part in _table(table)),
            *_facts("totals", "Totals since start", view.totals),
            "</main>\n",
            *_footer(view),
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _header(view: View) -> Iterator[str]:
    yield '<header id="top">\n'
    yield f'<p class="name">lessee <span>{escape(view.service)}</span></p>\n'
    if view.environment:
        yield f'<p class="where"><span class="visually-hidden">Environment </span>{escape(view.environment)}</p>\n'
    yield f'<h1 id="summary" class="{view.summary.tone}">{_marked(view.summary)}</h1>\n'
    yield f'<p class="lead">{escape(view.summary.note)}</p>\n'
    # A screen reader announces changes of this text; relative times are not part of it.
    announcement = f"{view.summary.text}. {_problem_count(len(view.problems))}"
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
        yield from (f"<li>{escape(problem)}</li>\n" for problem in view.problems)
        yield "</ul>\n</section>\n"


def _facts(key: str, title: str, facts: tuple[Fact, ...]) -> Iterator[str]:
    if facts:
        yield f'<section id="{key}" class="facts" aria-labelledby="{key}-title">\n'
        yield f'<h2 id="{key}-title">{title}</h2>\n<dl>\n'
        for fact in facts:
            yield f'<div><dt>{escape(fact.name)}</dt><dd class="{fact.cell.tone}">{_content(fact.cell)}</dd></div>\n'
        yield "</dl>\n</section>\n"


def _table(table: Table) -> Iterator[str]:
    yield f'<section id="{table.key}" aria-labelledby="{table.key}-title">\n'
    yield f'<h2 id="{table.key}-title">{escape(table.title)}</h2>\n'
    if not table.rows:
        yield f'<p class="empty">{escape(table.empty)}</p>\n</section>\n'
        return
    # Explicit roles, because the elements lose theirs when a narrow screen displays them as cards.
    yield f'<table role="table" aria-labelledby="{table.key}-title">\n<thead role="rowgroup"><tr role="row">'
    yield from (f'<th scope="col" role="columnheader">{escape(column)}</th>' for column in table.columns)
    yield '</tr></thead>\n<tbody role="rowgroup">\n'
    for row in table.rows:
        yield '<tr role="row">'
        for number, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            tag, role = ('th scope="row"', "rowheader") if number == 0 else ("td", "cell")
            label = f' data-label="{escape(column)}"'
            classes = f"{cell.tone} short".strip() if len(cell.text) <= _SHORT else cell.tone
            yield f'<{tag} role="{role}" class="{classes}"{label}><div>{_content(cell)}</div></{tag[:2]}>'
        yield "</tr>\n"
    yield "</tbody>\n</table>\n</section>\n"


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
