"""A rotator: its targets, how old their credentials are, and when each is next."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.status.pages.components import Cell, Fact, Table, View, cell, moment, table
from lessee.status.pages.time_format import count, seconds_of, shown, span

Status = Mapping[str, Any]


def view(status: Status, now: float) -> View:
    """Of the status of `lessee rotate --watch`."""
    return View(
        service="rotator",
        version=shown(status["version"]),
        environment=shown(status["environment"] or ""),
        standing=_standing(status),
        facts=tuple(_facts(status, now)),
        problems=tuple(map(shown, status["problems"])),
        tables=(_targets(status, now),),
        totals=(),
        at=now,
    )


def _standing(status: Status) -> Cell:
    if not status["ready"]:
        return Cell("Not ready", "bad", note="what Vault knows of the targets could not be read")
    if status["problems"] or any(one["error"] for one in status["targets"].values()):
        return Cell("Not all is well", "warn", note="old credentials stay valid where no new one is; see below")
    return Cell("All is well", "good", note="each target is as it should be")


def _facts(status: Status, now: float) -> Iterator[Fact]:
    targets = status["targets"].values()
    yield Fact("Targets", cell(len(targets)))
    failing = sum(bool(one["consecutive_failures"]) for one in targets)
    yield Fact("Failing", cell(count(failing, "target") if failing else "none", "bad" if failing else ""))
    following = min((one["next_rotation_at"] for one in targets if one["next_rotation_at"]), key=seconds_of, default=None)
    yield Fact("Next rotation", moment(following, now) if following else cell("none is planned"))
    vault = status["vault"]
    yield Fact("Vault", Cell("reachable", "good") if vault["reachable"] else Cell("away", "bad"))


def _targets(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(name),
            _step(one),
            _age(one, now),
            moment(one["next_rotation_at"], now),
            _outcome(one, now),
            cell(f"{one['rotation_count']:,}"),
            _confirmed(one),
        )
        for name, one in status["targets"].items()
    )
    columns = ("Target", "Step", "Age", "Next", "Last outcome", "Rotations", "Confirmed")
    return table("targets", "Targets", columns, rows, "There is nothing to rotate.")


def _step(one: Status) -> Cell:
    passing = f"open for {span(one['open_seconds'])}" if one["open_seconds"] is not None else ""
    if one["in_progress"]:
        return cell("under way", "warn", note=one["step"], passing=passing)
    return cell(one["step"], "quiet" if one["step"] == "idle" else "warn", passing=passing)


def _age(one: Status, now: float) -> Cell:
    if one["last_rotated_at"] is None:
        return cell("never rotated", "quiet")
    return Cell(span(now - seconds_of(one["last_rotated_at"])), at=one["last_rotated_at"])


def _outcome(one: Status, now: float) -> Cell:
    if one["consecutive_failures"]:
        what = f"{count(one['consecutive_failures'], 'failure')} in a row"
        if one["last_failed_at"] is None:
            return cell(what, "bad", note=one["error"])
        return moment(one["last_failed_at"], now, "bad", before=f"{what}, ", note=one["error"])
    if one["error"]:
        return cell("not known", "bad", note=one["error"])
    return cell("rotated", "good") if one["rotation_count"] else cell(None)


def _confirmed(one: Status) -> Cell:
    if one["unconfirmed_consumers"]:
        return cell(count(len(one["unconfirmed_consumers"]), "reader") + " missing", "warn", note=", ".join(one["unconfirmed_consumers"]))
    return cell(f"within {span(one['propagation_seconds'])}", "good") if one["propagation_seconds"] is not None else cell(None)
