"""A report as people, programs and spreadsheets read it."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from lessee.ops.audit.policy.rows import TITLES, Row, Section

COLUMNS = ("section", "environment", "who", "what", "detail", "at", "source")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet takes what begins so for a formula, and some the wide forms of these too."""


def as_text(head: Mapping[str, str], rows: Sequence[Row]) -> str:
    """By section, a line each, with its source below it."""
    lines = [f"{key}: {_plain(value)}" for key, value in head.items()]
    for section in Section:
        some = [row for row in rows if row.section is section]
        lines += ["", f"{TITLES[section].upper()} ({len(some)})"]
        for row in some:
            said = " · ".join(filter(None, (row.environment, row.who, row.what, row.detail, row.at)))
            lines += [f"  {_plain(said)}", f"      source: {_plain(row.source)}"]
        if not some:
            lines.append("  nothing")
    return "\n".join(lines)


def as_json(head: Mapping[str, str], rows: Sequence[Row]) -> str:
    """One object, with a list for each section."""
    sections = {section.value: [_fields(row) for row in rows if row.section is section] for section in Section}
    return json.dumps({**head, **sections}, indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row]) -> str:
    """RFC 4180, with a heading. No cell can be a formula."""
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
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)
