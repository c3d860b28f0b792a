"""Formats a report as text, JSON or CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from lessee.ops.audit.policy.rows import TITLES, Row, Section

COLUMNS = ("section", "environment", "actor", "item", "detail", "time", "source")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Spreadsheets treat a cell that begins with one of these as a formula; some accept the full-width forms too."""


def as_text(header: Mapping[str, str], rows: Sequence[Row]) -> str:
    """The report by section, with each row's source on the line below it."""
    lines = [f"{key}: {_plain(value)}" for key, value in header.items()]
    for section in Section:
        selected = [row for row in rows if row.section is section]
        lines += ["", f"{TITLES[section].upper()} ({len(selected)})"]
        for row in selected:
            text = " · ".join(filter(None, (row.environment, row.actor, row.item, row.detail, row.time)))
            lines += [f"  {_plain(text)}", f"      source: {_plain(row.source)}"]
        if not selected:
            lines.append("  none")
    return "\n".join(lines)


def as_json(header: Mapping[str, str], rows: Sequence[Row]) -> str:
    """The report as an object with a list for each section."""
    sections = {section.value: [_fields(row) for row in rows if row.section is section] for section in Section}
    return json.dumps({**header, **sections}, indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row]) -> str:
    """The rows in RFC 4180, with a header line. No cell can be a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for section in Section:
        writer.writerows([_cell(getattr(row, column)) for column in COLUMNS] for row in rows if row.section is section)
    return out.getvalue().removesuffix("\r\n")


def _fields(row: Row) -> dict[str, str]:
    return {column: str(getattr(row, column)) for column in COLUMNS[1:]}


def _cell(value: str) -> str:
    text = _plain(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
