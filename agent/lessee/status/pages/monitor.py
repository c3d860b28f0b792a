"""A monitor: who read what, what is wrong, how rotation goes, and how far it has followed Vault's audit log."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.status.pages.components import Cell, Fact, Table, Tone, View, cell, moment, table
from lessee.status.pages.time_format import count, seconds_of, shown, span

Status = Mapping[str, Any]
_SEVERITIES: Mapping[str, Tone] = {"critical": "bad", "warning": "warn", "info": ""}
_BEHIND = 1_000_000
"""Bytes of the log that are still to be read, from which on it is worth a look."""


def view(status: Status, now: float) -> View:
    """Of the status of `lessee monitor`; of what does not run there is nothing in it."""
    return View(
        service="monitor",
        version=shown(status["version"]),
        environment=shown(status.get("environment") or ""),
        standing=_standing(status),
        facts=tuple(_facts(status)),
        problems=tuple(map(shown, status["problems"])),
        tables=(
            _alerts(status, now),
            _accesses(status, now),
            _rotation(status, now),
            _services(status, now),
            _publishing(status),
            _sources(status, now),
        ),
        totals=(),
        at=now,
    )


def _standing(status: Status) -> Cell:
    firing = len(_firing(status))
    if not status["ready"]:
        return Cell("Not ready", "bad", note="an audit log cannot be followed")
    if firing:
        return Cell(count(firing, "alert"), "bad", note="see what each says below")
    if status["problems"]:
        return Cell("Not all is well", "warn", note="see below")
    return Cell("All is quiet", "good", note="each audit log is followed, and no rule is broken")


def _facts(status: Status) -> Iterator[Fact]:
    firing = len(_firing(status))
    yield Fact("Alerts", cell(count(firing, "alert") if firing else "none", "bad" if firing else ""))
    paths = status.get("accesses", {}).get("by_path", ())
    yield Fact("Accesses in the last hour", cell(f"{sum(one['last_hour'] for one in paths):,}"))
    denied = status.get("accesses", {}).get("denied", 0)
    yield Fact("Denied", cell(f"{denied:,}", "warn" if denied else ""))
    yield Fact("Lines read", cell(f"{sum(one['lines'] for one in status.get('sources', ())):,}"))


def _firing(status: Status) -> list[Status]:
    return [alert for alert in status.get("alerts", ()) if alert.get("firing", True)]


def _alerts(status: Status, now: float) -> Table:
    ordered = sorted(status.get("alerts", ()), key=lambda one: not one.get("firing", True))
    rows = tuple(
        (
            cell(one["rule"]),
            cell("firing", _SEVERITIES.get(one["severity"], "bad"))
            if one.get("firing", True)
            else cell("resolved", "quiet"),
            cell(one["severity"]),
            cell(one["subject"], note=one["text"]),
            moment(one["started_at"], now),
            cell(_notified(one.get("notified"))),
        )
        for one in ordered
    )
    columns = ("Rule", "State", "Severity", "Subject", "Since", "Notified")
    return table("alerts", "Alerts", columns, rows, "No rule is broken.")


def _notified(notified: object) -> str:
    """Whom, and what came of it."""
    if not isinstance(notified, Mapping):
        return str(notified or "")
    return ", ".join(f"{whom}: {_word(said)}" for whom, said in notified.items())


def _word(said: object) -> str:
    return {True: "yes", False: "not yet", None: "not yet"}[said] if isinstance(said, bool | None) else str(said)


def _accesses(status: Status, now: float) -> Table:
    paths = status.get("accesses", {}).get("by_path", ())
    ordered = sorted(paths, key=lambda one: (-one["last_hour"], -one["total"], one["path"]))
    rows = tuple(
        (
            cell(one["path"]),
            cell(one["component"]),
            cell(one["address"]),
            cell(f"{one['last_hour']:,}"),
            cell(f"{one['total']:,}"),
            moment(one["last_at"], now),
        )
        for one in ordered
    )
    columns = ("Path", "Component", "Address", "Last hour", "In all", "Last")
    return table("accesses", "Who read what", columns, rows, "Nobody has read anything yet.")


def _rotation(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(one["target"]),
            cell(one["service"]),
            moment(one["next"], now, "warn" if one["next"] and seconds_of(one["next"]) < now else ""),
            cell(f"open for {span(one['open_for'])}") if one["open_for"] else cell("idle", "quiet"),
            cell(count(one["failures"], "failure") if one["failures"] else None, "bad", note=one["error"]),
        )
        for one in status.get("rotation", ())
    )
    columns = ("Target", "Rotator", "Next", "State", "Trouble")
    return table("rotation", "Rotation", columns, rows, "No rotator is watched.")


def _services(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(one["name"]),
            cell("answers", "good") if one["error"] is None else cell("silent", "bad", note=one["error"]),
            moment(one["checked_at"], now),
            cell(one["leases"]),
            cell(one["targets"]),
        )
        for one in status.get("services", ())
    )
    columns = ("Service", "State", "Asked", "Leases", "Targets")
    return table("services", "Agents and rotators", columns, rows, "Nobody is watched.")


def _publishing(status: Status) -> Table:
    rows = tuple(
        (
            cell(name),
            cell("reachable", "good") if one.get("reachable") else cell("away", "bad"),
            cell(f"{one.get('published') or 0:,}"),
            cell(f"{one.get('pending') or 0:,}", "warn" if one.get("pending") else ""),
            cell(one.get("error"), "bad"),
        )
        for name, one in (status.get("destinations") or {}).items()
        if isinstance(one, Mapping)
    )
    columns = ("To", "State", "Published", "Waiting", "Trouble")
    return table("publishing", "Changes that are told", columns, rows, "Changes are told to nobody.")


def _sources(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(one["name"]),
            cell(one["kind"]),
            cell(f"{one['lines']:,}"),
            cell(f"{one['lag_bytes'] or 0:,} B", "warn" if (one["lag_bytes"] or 0) > _BEHIND else ""),
            moment(one["last_at"], now),
            cell(one["error"], "bad"),
        )
        for one in status.get("sources", ())
    )
    columns = ("Source", "Kind", "Lines", "Behind", "Last line", "Trouble")
    return table("sources", "AuditSource logs", columns, rows, "No audit log is followed.")
