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
    if status["problems"] or any(target["error"] for target in status["targets"].values()):
        return Cell("Problems", "warn", note="the old credentials of failing targets stay valid; see below")
    return Cell("OK", "good", note="no target has a problem")


def _facts(status: Status, now: float) -> Iterator[Fact]:
    targets = status["targets"].values()
    yield Fact("Targets", cell(len(targets)))
    failing = sum(bool(target["consecutive_failures"]) for target in targets)
    yield Fact("Failing", cell(count(failing, "target") if failing else "none", "bad" if failing else ""))
    following = min(
        (target["next_rotation_at"] for target in targets if target["next_rotation_at"]),
        key=epoch_seconds,
        default=None,
    )
    yield Fact("Next rotation", time_cell(following, now) if following else cell("none scheduled"))
    vault = status["vault"]
    yield Fact("Vault", Cell("reachable", "good") if vault["reachable"] else Cell("unreachable", "bad"))


def _targets(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(name),
            _step(target),
            _age(target, now),
            time_cell(target["next_rotation_at"], now),
            _outcome(target, now),
            cell(f"{target['rotation_count']:,}"),
            _confirmed(target),
        )
        for name, target in status["targets"].items()
    )
    columns = ("Target", "Step", "Age", "Next rotation", "Last result", "Rotations", "Confirmed")
    return table("targets", "Targets", columns, rows, "No target is configured.")


def _step(target: Status) -> Cell:
    transient = f"open for {duration(target['open_seconds'])}" if target["open_seconds"] is not None else ""
    if target["in_progress"]:
        return cell("in progress", "warn", note=target["step"], transient=transient)
    return cell(target["step"], "quiet" if target["step"] == "idle" else "warn", transient=transient)


def _age(target: Status, now: float) -> Cell:
    if target["last_rotated_at"] is None:
        return cell("never rotated", "quiet")
    return Cell(duration(now - epoch_seconds(target["last_rotated_at"])), at=target["last_rotated_at"])


def _outcome(target: Status, now: float) -> Cell:
    if target["consecutive_failures"]:
        what = f"{count(target['consecutive_failures'], 'consecutive failure')}"
        if target["last_failed_at"] is None:
            return cell(what, "bad", note=target["error"])
        return time_cell(target["last_failed_at"], now, "bad", prefix=f"{what}, ", note=target["error"])
    if target["error"]:
        return cell("unknown", "bad", note=target["error"])
    return cell("rotated", "good") if target["rotation_count"] else cell(None)


def _confirmed(target: Status) -> Cell:
    if target["unconfirmed_consumers"]:
        return cell(
            count(len(target["unconfirmed_consumers"]), "consumer") + " missing",
            "warn",
            note=", ".join(target["unconfirmed_consumers"]),
        )
    return (
        cell(f"after {duration(target['propagation_seconds'])}", "good")
        if target["propagation_seconds"] is not None
        else cell(None)
    )
