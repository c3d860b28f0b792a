"""The view of `lessee issue`: its roles, and how many secret_ids agents got of each."""

from collections.abc import Mapping
from typing import Any

from lessee.status.pages.components import Cell, Fact, Table, View, cell, table, time_cell
from lessee.status.pages.time_format import printable

Status = Mapping[str, Any]


def view(status: Status, now: float) -> View:
    """Build the view from the status of `lessee issue`."""
    return View(
        service="issuer",
        version=printable(status["version"]),
        environment=printable(status["environment"] or ""),
        summary=_summary(status),
        facts=(
            Fact("Issued", cell(f"{sum(role['issued'] for role in status['roles'].values()):,}")),
            Fact("Refused", cell(f"{status['refused']:,}", "warn" if status["refused"] else "")),
        ),
        problems=tuple(map(printable, status["problems"])),
        tables=(_roles(status, now),),
        totals=(),
        at=now,
    )


def _summary(status: Status) -> Cell:
    if status["problems"]:
        return Cell("Problems", "warn", note="an agent did not get its secret_id; see below")
    return Cell("OK", "good", note="no agent waits for a secret_id")


def _roles(status: Status, now: float) -> Table:
    rows = tuple(
        (cell(name), cell(f"{role['issued']:,}"), time_cell(role["last_issued_at"], now))
        for name, role in status["roles"].items()
    )
    return table("roles", "Roles", ("Role", "Issued", "Last issue"), rows, "No role is configured.")
