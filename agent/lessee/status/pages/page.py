"""A view as a page: headings, landmarks and tables that a screen reader knows its way in, and no word unescaped."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import escape

from lessee.status.pages.components import Cell, Fact, Table, View

EVERY = 5
"""Seconds after which a page without script loads itself anew."""
_SHORT = 15
"""Letters that stay on one line: a number, a word, an address."""
# Also for who sees no colours; what reads aloud hears the text beside it.
_MARKS: Mapping[str, str] = {"good": "✓", "warn": "!", "bad": "✕"}


def page(view: View, *, style: str, script: str) -> str:
    """The whole document. `style` and `script` are ours, and stand in it as they are."""
    title = " · ".join(filter(None, ("lessee", view.service, view.environment)))
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(view.standing.text)} · {escape(title)}</title>\n",
            '<link rel="icon" href="data:,">\n',
            f'<noscript><meta http-equiv="refresh" content="{EVERY}"></noscript>\n',
            f"<style>{style}</style>\n</head>\n<body>\n",
            *_header(view),
            '<main id="main">\n',
            *_problems(view),
            *_facts("facts", "At a glance", view.facts),
            *(part for table in view.tables for part in _table(table)),
            *_facts("totals", "Since its start", view.totals),
            "</main>\n",
            *_footer(view),
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _header(view: View) -> Iterator[str]:
    yield '<header id="top">\n'
    yield f'<p class="name">lessee <span>{escape(view.service)}</span></p>\n'
    if view.environment:
        yield f'<p class="where"><span class="unseen">Environment </span>{escape(view.environment)}</p>\n'
    yield f'<h1 id="standing" class="{view.standing.tone}">{_marked(view.standing)}</h1>\n'
    yield f'<p class="lead">{escape(view.standing.note)}</p>\n'
    # What changes is said aloud once, and the moments that go by are not.
    said = f"{view.standing.text}. {_how_many(len(view.problems))}"
    yield f'<p id="said" class="unseen" role="status">{escape(said)}</p>\n'
    yield '<nav aria-label="Parts of this page"><ul>\n'
    for table in view.tables:
        yield f'<li><a href="#{table.key}">{escape(table.title)}</a></li>\n'
    yield "</ul></nav>\n</header>\n"


def _how_many(problems: int) -> str:
    return "No problems." if not problems else f"{problems} problem{'s' * (problems != 1)}."


def _problems(view: View) -> Iterator[str]:
    if view.problems:
        yield '<section id="problems" class="problems" aria-labelledby="problems-title">\n'
        yield '<h2 id="problems-title">What is wrong</h2>\n<ul>\n'
        yield from (f"<li>{escape(problem)}</li>\n" for problem in view.problems)
        yield "</ul>\n</section>\n"


def _facts(key: str, title: str, facts: tuple[Fact, ...]) -> Iterator[str]:
    if facts:
        yield f'<section id="{key}" class="facts" aria-labelledby="{key}-title">\n'
        yield f'<h2 id="{key}-title">{title}</h2>\n<dl>\n'
        for fact in facts:
            yield f'<div><dt>{escape(fact.name)}</dt><dd class="{fact.cell.tone}">{_inside(fact.cell)}</dd></div>\n'
        yield "</dl>\n</section>\n"


def _table(table: Table) -> Iterator[str]:
    yield f'<section id="{table.key}" aria-labelledby="{table.key}-title">\n'
    yield f'<h2 id="{table.key}-title">{escape(table.title)}</h2>\n'
    if not table.rows:
        yield f'<p class="empty">{escape(table.empty)}</p>\n</section>\n'
        return
    # The roles are those that the elements have until a narrow screen lays them out as cards.
    yield f'<table role="table" aria-labelledby="{table.key}-title">\n<thead role="rowgroup"><tr role="row">'
    yield from (f'<th scope="col" role="columnheader">{escape(column)}</th>' for column in table.columns)
    yield '</tr></thead>\n<tbody role="rowgroup">\n'
    for row in table.rows:
        yield '<tr role="row">'
        for number, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            tag, role = ('th scope="row"', "rowheader") if number == 0 else ("td", "cell")
            label = f' data-label="{escape(column)}"'
            look = f"{cell.tone} short".strip() if len(cell.text) <= _SHORT else cell.tone
            yield f'<{tag} role="{role}" class="{look}"{label}><div>{_inside(cell)}</div></{tag[:2]}>'
        yield "</tr>\n"
    yield "</tbody>\n</table>\n</section>\n"


def _inside(cell: Cell) -> str:
    note = "".join(f" <small>{escape(said)}</small>" for said in (cell.note, cell.passing) if said)
    if cell.at is None:
        return f"{_marked(cell)}{note}"
    at = escape(cell.at)
    return f'<time datetime="{at}" title="{at}">{_marked(cell)}</time>{note}'


def _marked(cell: Cell) -> str:
    mark = _MARKS.get(cell.tone)
    before = f'<span class="mark" aria-hidden="true">{mark}</span> ' if mark else ""
    return f"{before}{escape(cell.text)}"


def _footer(view: View) -> Iterator[str]:
    at = datetime.fromtimestamp(view.at, UTC)
    yield '<footer id="bottom">\n'
    yield f'<p>As of <time datetime="{at.isoformat()}">{at:%Y-%m-%d %H:%M:%S} UTC</time> · '
    yield f"lessee {escape(view.version)} · no value is ever shown</p>\n</footer>\n"
