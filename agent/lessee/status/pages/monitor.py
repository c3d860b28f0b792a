"""The view of a monitor: alerts, accesses, rotation, services, and the audit logs that it reads."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lessee.core.immutable import replace
from lessee.status.pages.components import Cell, Fact, Table, Tone, View, cell, table, time_cell
from lessee.status.pages.time_format import count, duration, epoch_seconds, printable

Status = Mapping[str, Any]
_SEVERITIES: Mapping[str, Tone] = {"critical": "bad", "warning": "warn", "info": ""}
_AGENT_TONES: Mapping[str, Tone] = {
    "fresh": "good",
    "not_fresh": "warn",
    "not_ready": "bad",
    "unreachable": "bad",
    "silent": "warn",
    "not_watched": "quiet",
}
_WHO_IS_LISTED = "Those in monitor.watch, and all roles that read. Add each to monitor.watch to see more."
_EVENTS: Mapping[str, tuple[str, Tone]] = {
    "asked": ("asked for approval", "warn"),
    "counted": ("interrupted", "bad"),
    "done": ("done", "good"),
    "failed": ("failed", "bad"),
    "undone": ("undone", "quiet"),
}
_SENTENCES = 5
"""What is listed at most of what was done because of an alert; status.json has all of it."""
_VERSIONS = 3
"""Versions in the overview, the most common ones."""
_LAG_WARNING = 1_000_000
"""Unread bytes of an audit log from which on the view warns."""


def view(status: Status, now: float) -> View:
    """Build the view from the status of `lessee monitor`, which has only the parts that are configured."""
    return View(
        service="monitor",
        version=printable(status["version"]),
        environment=printable(status.get("environment") or ""),
        summary=_summary(status),
        facts=tuple(_facts(status)),
        problems=tuple(map(printable, status["problems"])),
        tables=(
            *_approvals(status, now),
            _alerts(status, now),
            *_responses(status, now),
            _agents(status, now),
            _accesses(status, now),
            _rotation(status, now),
            _services(status, now),
            _publishing(status),
            _sources(status, now),
        ),
        totals=(),
        at=now,
    )


def _summary(status: Status) -> Cell:
    firing, pending = len(_firing(status)), len(_pending(status))
    if not status["ready"]:
        return Cell("Not ready", "bad", note="an audit log cannot be read")
    if pending:
        others = f", and {count(firing, 'alert')}" if firing else ""
        return Cell(f"{count(pending, 'approval')} pending", "bad", note=f"see the pending approvals{others} below")
    if firing:
        return Cell(count(firing, "alert"), "bad", note="see the alerts below")
    if status["problems"]:
        return Cell("Problems", "warn", note="see below")
    return Cell("No alerts", "good", note="all audit logs are read, and no alert is firing")


def _facts(status: Status) -> Iterator[Fact]:
    firing = len(_firing(status))
    yield Fact("Alerts", cell(count(firing, "alert") if firing else "none", "bad" if firing else ""))
    paths = status.get("accesses", {}).get("by_path", ())
    yield Fact("Accesses in the last hour", cell(f"{sum(row['last_hour'] for row in paths):,}"))
    if fleet := status.get("fleet", {}).values():
        fresh = sum(agent["state"] == "fresh" for agent in fleet)
        yield Fact("Fresh agents", cell(f"{fresh:,} of {len(fleet):,}"))
        versions = Counter(agent["version"] for agent in fleet if agent["version"] is not None).most_common(_VERSIONS)
        if versions:
            yield Fact("Agents' versions", cell(", ".join(f"{version}: {number:,}" for version, number in versions)))
    denied = status.get("accesses", {}).get("denied", 0)
    yield Fact("Denied requests", cell(f"{denied:,}", "warn" if denied else ""))
    for source, latency in status.get("read_latency", {}).items():
        if latency["count"]:
            yield Fact(f"Reads of {printable(source)}", cell(_latency(latency)))
    yield from _cluster(status.get("cluster", {}))
    yield Fact("Lines read", cell(f"{sum(row['lines'] for row in status.get('sources', ())):,}"))


def _cluster(cluster: Status) -> Iterator[Fact]:
    """The raft peers and the storage of Vault, as far as the monitor knows them."""
    peers = cluster.get("peers")
    if peers is not None:
        leaders = [peer["node"] for peer in peers if peer["leader"]]
        voters = count(sum(peer["voter"] for peer in peers), "voter")
        text = f"{voters}, leader {', '.join(leaders)}" if leaders else f"{voters}, no leader"
        yield Fact("Raft peers", cell(text, "" if leaders else "bad", note=cluster["error"]))
    if "storage_bytes" in cluster:
        used, free = _size(cluster["storage_bytes"]), _size(cluster["storage_free_bytes"])
        yield Fact("Vault's storage", cell(f"{used}, {free} free"))


def _size(number: int) -> str:
    for exponent, unit in ((30, "GiB"), (20, "MiB")):
        if number >= 2**exponent:
            return f"{number / 2**exponent:,.1f} {unit}"
    return f"{number / 2**10:,.0f} KiB"


def _latency(histogram: Status) -> str:
    """The bounds under which half of the reads are, and 99 of 100."""
    half, most = (_bound(histogram, share) for share in (0.5, 0.99))
    return f"50% {half}, 99% {most}"


def _bound(histogram: Status, share: float) -> str:
    for bound, number in histogram["buckets"]:
        if number >= share * histogram["count"]:
            return f"≤ {bound * 1000:g} ms" if bound < 1 else f"≤ {bound:g} s"
    return f"> {histogram['buckets'][-1][0]:g} s"


def _firing(status: Status) -> list[Status]:
    return [alert for alert in status.get("alerts", ()) if alert.get("firing", True)]


def _pending(status: Status) -> Sequence[Status]:
    """The responses that wait for an approval, those that end first in the front."""
    return sorted(status.get("responses", {}).get("pending", ()), key=lambda one: epoch_seconds(one["expires_at"]))


def _approvals(status: Status, now: float) -> Iterator[Table]:
    """First of all, because they end, and nothing happens without a person."""
    rows = tuple(
        (
            cell(one["command"], "bad", note=f"an approval was rejected: {one['rejected']}" if one["rejected"] else ""),
            time_cell(one["expires_at"], now, "warn"),
            cell(", ".join(one["approvers"])),
            cell(f"{one['action']} {one['target']}", note="dry run" if one["dry_run"] else ""),
            cell(f"{one['rule']}: {one['subject']}"),
        )
        for one in _pending(status)
    )
    if rows:
        columns = ("Approve with", "Until", "One of", "What it would do", "Because of")
        yield table("approvals", "Pending approvals", columns, rows, "", group_by=0, tally=1)


def _responses(status: Status, now: float) -> Iterator[Table]:
    """The responses of the configuration, and what they did."""
    responses = status.get("responses")
    if not responses:
        return
    rows = tuple(
        (
            cell(name),
            cell(one["rule"]),
            cell("cannot run", "bad", note=one["error"])
            if one["error"] is not None
            else cell("dry run", "quiet")
            if one["dry_run"]
            else cell("ready", "good"),
            cell(f"{one['used']:,} of {one['max_per_hour']:,}", "warn" if one["used"] >= one["max_per_hour"] else ""),
        )
        for name, one in responses["budgets"].items()
    )
    columns = ("Response", "Rule", "State", "Last hour")
    yield table("responses", "Responses", columns, rows, "No response is configured.", group_by=2)
    done = tuple(
        (
            cell(one["id"]),
            time_cell(one["at"], now),
            cell(*_EVENTS.get(one["event"], (one["event"], "")), note="dry run" if one["dry_run"] else ""),
            cell(one["response"]),
            cell(one["text"]),
        )
        for one in responses["recent"]
    )
    fields = ("ID", "At", "State", "Response", "What")
    yield table("done", "Response log", fields, done, "No alert has caused a response yet.", group_by=3, tally=2)


def _alerts(status: Status, now: float) -> Table:
    ordered = sorted(status.get("alerts", ()), key=lambda alert: not alert.get("firing", True))
    rows = tuple(
        (
            cell(alert["rule"]),
            cell("firing", _SEVERITIES.get(alert["severity"], "bad"))
            if alert.get("firing", True)
            else cell("resolved", "quiet"),
            cell(alert["severity"]),
            cell(subject, note=_alert_text(alert) if subject == alert["subject"] else ""),
            time_cell(alert["started_at"], now),
            cell(_notified(alert.get("notified"))),
        )
        for alert in ordered
        # An alert may stand for many subjects, and each can be found by its name.
        for subject in alert.get("subjects") or [alert["subject"]]
    )
    columns = ("Rule", "State", "Severity", "Subject", "Since", "Notified")
    return table("alerts", "Alerts", columns, rows, "No alert is firing.", tally=1, group_by=0, names=(0, 3))


def _alert_text(alert: Status) -> str:
    """What the alert says, and what was done because of it."""
    done = list(alert.get("responses", ()))
    more = [f"and {len(done) - _SENTENCES:,} more"] if len(done) > _SENTENCES else []
    return "; ".join([alert["text"], *done[:_SENTENCES], *more])


def _agents(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(name, note=", ".join(agent["apps"]) if agent["source"] == "status" else ""),
            _agent_state(agent),
            cell(agent["address"]),
            cell(agent["environment"]),
            cell(agent["version"]),
            cell(count(agent["pending"], "app") if agent["pending"] else None, "warn"),
            time_cell(agent["logged_in_at"], now),
            time_cell(agent["last_read_at"], now, note=_last_read(agent["last_read"])),
            time_cell(agent["last_seen_at"], now),
        )
        for name, agent in status.get("fleet", {}).items()
    )
    columns = (
        "Agent",
        "State",
        "Address",
        "Environment",
        "Version",
        "Pending",
        "Last login",
        "Last read",
        "Last seen",
    )
    found = table("agents", "Agents", columns, rows, "No agent is known.", group_by=1, names=(0, 2))
    return replace(found, note=_WHO_IS_LISTED)


def _agent_state(agent: Status) -> Cell:
    state = agent["state"]
    note = agent["error"] or (count(agent["problems"], "problem") if agent["problems"] else "")
    if outdated := agent["outdated"]:
        first = outdated[0]
        note = note or f"{first['path']} at version {first['version']}, the newest is {first['newest']}"
    elif agent["source"] != "status" and agent["reported_at"] is not None:
        note = f"reported {agent['reported_at']} as {agent['component']}"
    return cell(state.replace("_", " "), _AGENT_TONES.get(state, ""), note=note)


def _last_read(last: Status | None) -> str:
    if last is None:
        return ""
    return last["path"] if last["version"] is None else f"{last['path']} version {last['version']}"


def _notified(notified: object) -> str:
    """The destinations of an alert, and whether each was notified."""
    if not isinstance(notified, Mapping):
        return str(notified or "")
    return ", ".join(f"{destination}: {_word(result)}" for destination, result in notified.items())


def _word(result: object) -> str:
    return {True: "yes", False: "not yet", None: "not yet"}[result] if isinstance(result, bool | None) else str(result)


def _accesses(status: Status, now: float) -> Table:
    paths = status.get("accesses", {}).get("by_path", ())
    ordered = sorted(paths, key=lambda access: (-access["last_hour"], -access["total"], access["path"]))
    rows = tuple(
        (
            cell(access["path"]),
            cell(access["component"]),
            cell(access["address"]),
            cell(f"{access['last_hour']:,}"),
            cell(f"{access['total']:,}"),
            time_cell(access["last_at"], now),
        )
        for access in ordered
    )
    columns = ("Path", "Component", "Address", "Last hour", "Total", "Last access")
    return table("accesses", "Accesses", columns, rows, "No access is recorded yet.", group_by=1, names=(0, 1, 2))


def _rotation(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(rotation["target"]),
            cell(rotation["service"]),
            time_cell(
                rotation["next_rotation_at"],
                now,
                "warn" if rotation["next_rotation_at"] and epoch_seconds(rotation["next_rotation_at"]) < now else "",
            ),
            cell(f"open for {duration(rotation['open_seconds'])}")
            if rotation["open_seconds"]
            else cell("idle", "quiet"),
            cell(
                count(rotation["consecutive_failures"], "failure") if rotation["consecutive_failures"] else None,
                "bad",
                note=rotation["error"],
            ),
        )
        for rotation in status.get("rotation", ())
    )
    columns = ("Target", "Rotator", "Next rotation", "State", "Error")
    return table("rotation", "Rotation", columns, rows, "No rotator is configured.", group_by=1, tally=3, names=(0, 1))


def _services(status: Status, now: float) -> Table:
    fleet = status.get("fleet", {})
    rows = tuple(
        (
            cell(service["name"]),
            cell("reachable", "good")
            if service["error"] is None
            else cell("unreachable", "bad", note=service["error"]),
            time_cell(service["checked_at"], now),
            cell(service["leases"]),
            cell(service["targets"]),
        )
        for service in status.get("services", ())
        if service["name"] not in fleet
    )
    columns = ("Service", "State", "Last check", "Leases", "Targets")
    title, empty = "Agents and rotators", "No service is configured."
    if fleet:
        title, empty = "Other services", "No other service is watched."
    return table("services", title, columns, rows, empty, group_by=1)


def _publishing(status: Status) -> Table:
    rows = tuple(
        (
            cell(name),
            cell("reachable", "good") if destination.get("reachable") else cell("unreachable", "bad"),
            cell(f"{destination.get('published') or 0:,}"),
            cell(f"{destination.get('pending') or 0:,}", "warn" if destination.get("pending") else ""),
            cell(destination.get("error"), "bad"),
        )
        for name, destination in (status.get("destinations") or {}).items()
        if isinstance(destination, Mapping)
    )
    columns = ("Destination", "State", "Published", "Pending", "Error")
    return table("publishing", "Change events", columns, rows, "No destination is configured.")


def _sources(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(source["name"]),
            cell(source["kind"]),
            cell(f"{source['lines']:,}"),
            cell(f"{source['lag_bytes'] or 0:,} B", "warn" if (source["lag_bytes"] or 0) > _LAG_WARNING else ""),
            time_cell(source["last_at"], now),
            cell(source["error"], "bad"),
        )
        for source in status.get("sources", ())
    )
    columns = ("Source", "Kind", "Lines", "Unread", "Last line", "Error")
    return table("sources", "Audit logs", columns, rows, "No audit log is configured.")
