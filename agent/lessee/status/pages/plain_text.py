"""A view as lines of text, with absolute timestamps: an unchanged status gives the same text."""

from collections.abc import Iterator

from lessee.status.pages.components import DASH, Cell, View


def lines(view: View) -> Iterator[str]:
    """The lines for a file, a pipe, or a terminal without cursor control."""
    where = f"  {view.environment}" if view.environment else ""
    yield f"lessee {view.service} {view.version}{where}  {view.summary.text}"
    for fact in view.facts:
        yield f"{fact.name}: {_text(fact.cell)}"
    for problem in view.problems:
        yield f"! {problem}"
    for table in view.tables:
        yield table.title if table.rows else f"{table.title}: {table.empty}"
        if table.note:
            yield f"  {table.note}"
        for first, *rest in table.rows:
            named = zip(table.columns[1:], rest, strict=True)
            yield "  ".join(
                [f"  {_text(first)}", *(f"{name}: {_text(cell)}" for name, cell in named if cell.text != DASH)]
            )


def _text(cell: Cell) -> str:
    text = f"{cell.prefix}{cell.at}" if cell.at else cell.text
    return f"{text} ({cell.note})" if cell.note else text
