"""The view of a rotator: its targets, the age of their credentials, and their next rotations."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.status.pages.components import Cell, Fact, Table, View, cell, table, time_cell
from lessee.status.pages.time_format import count, duration, epoch_seconds, printable

Status = Mapping[str, Any]


def view(status: Status, now: float) -> View:
    """Build the view from the status of `lessee rotate --watch`."""
    return View(
        service="rotator",
        version=printable(status["version"]),
        environment=printable(status["environment"] or ""),
        summary=_summary(status),
        facts=tuple(_facts(status, now)),
        problems=tuple(map(printable, status["problems"])),
        tables=(_targets(status, now),),
        totals=(),
        at=now,
    )


def _summary(status: Status) -> Cell:
    if not status["ready"]:
        return Cell("Not ready", "bad", note="the journals of the targets cannot be read from Vault")
    if status["problems"] or any(one["error"] for one in status["targets"].values()):
        return Cell("Problems", "warn", note="the old credentials of failing targets stay valid; see below")
    return Cell("OK", "good", note="no target has a problem")


def _facts(status: Status, now: float) -> Iterator[Fact]:
    targets = status["targets"].values()
    yield Fact("Targets", cell(len(targets)))
    failing = sum(bool(one["consecutive_failures"]) for one in targets)
    yield Fact("Failing", cell(count(failing, "target") if failing else "none", "bad" if failing else ""))
    following = min(
        (one["next_rotation_at"] for one in targets if one["next_rotation_at"]), key=epoch_seconds, default=None
    )
    yield Fact("Next rotation", time_cell(following, now) if following else cell("none scheduled"))
    vault = status["vault"]
    yield Fact("Vault", Cell("reachable", "good") if vault["reachable"] else Cell("unreachable", "bad"))


def _targets(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(name),
            _step(one),
            _age(one, now),
            time_cell(one["next_rotation_at"], now),
            _outcome(one, now),
            cell(f"{one['rotation_count']:,}"),
            _confirmed(one),
        )
        for name, one in status["targets"].items()
    )
    columns = ("Target", "Step", "Age", "Next rotation", "Last result", "Rotations", "Confirmed")
    return table("targets", "Targets", columns, rows, "No target is configured.")


def _step(one: Status) -> Cell:
    transient = f"open for {duration(one['open_seconds'])}" if one["open_seconds"] is not None else ""
    if one["in_progress"]:
        return cell("in progress", "warn", note=one["step"], transient=transient)
    return cell(one["step"], "quiet" if one["step"] == "idle" else "warn", transient=transient)


def _age(one: Status, now: float) -> Cell:
    if one["last_rotated_at"] is None:
        return cell("never rotated", "quiet")
    return Cell(duration(now - epoch_seconds(one["last_rotated_at"])), at=one["last_rotated_at"])


def _outcome(one: Status, now: float) -> Cell:
    if one["consecutive_failures"]:
        what = f"{count(one['consecutive_failures'], 'consecutive failure')}"
        if one["last_failed_at"] is None:
            return cell(what, "bad", note=one["error"])
        return time_cell(one["last_failed_at"], now, "bad", prefix=f"{what}, ", note=one["error"])
    if one["error"]:
        return cell("unknown", "bad", note=one["error"])
    return cell("rotated", "good") if one["rotation_count"] else cell(None)


def _confirmed(one: Status) -> Cell:
    if one["unconfirmed_consumers"]:
        return cell(
            count(len(one["unconfirmed_consumers"]), "consumer") + " missing",
            "warn",
            note=", ".join(one["unconfirmed_consumers"]),
        )
    return (
        cell(f"after {duration(one['propagation_seconds'])}", "good")
        if one["propagation_seconds"] is not None
        else cell(None)
    )
