"""Tables of the generated pages."""

import re


def table(head, rows):
    """A table; each row has a text for each column."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *(map(cell, row) for row in rows))]
    return "\n".join(lines) + "\n"


def cell(text):
    """A text as a cell: on one line, without a bar that would end the cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(str(text).split()))


def code(text):
    """A text as a code span."""
    return f"`{text}`"


def page(title, about, *parts):
    """A page with a title and what it is about."""
    return "\n".join([f"# {title}\n", f"{about.strip()}\n", *parts])
