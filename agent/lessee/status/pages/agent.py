"""An agent: its apps, what they were told, their secrets and leases, and the weather at Vault."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.status.pages.components import Cell, Fact, Table, Tone, View, cell, moment, table
from lessee.status.pages.time_format import count, seconds_of, shown, since, span

Status = Mapping[str, Any]

_TONES: Mapping[str, Tone] = {
    "waiting": "warn",
    "published": "",
    "notified": "good",
    "confirmed": "good",
    "rolled_back": "bad",
    "refused": "bad",
}
_NEAR = 60.0
"""Seconds before the end of a lease or token from which on it is worth a look: it should have been renewed."""


def view(status: Status, now: float) -> View:
    """Of the status of `lessee run` or `exec`."""
    return View(
        service="agent",
        version=shown(status["version"]),
        environment=shown(status["environment"] or ""),
        standing=_standing(status),
        facts=tuple(_facts(status, now)),
        problems=tuple(map(shown, status["problems"])),
        tables=(_apps(status, now), _vaults(status, now), _leases(status, now), _secrets(status, now)),
        totals=tuple(Fact(shown(name.replace("_", " ")), cell(f"{said:,}")) for name, said in status["totals"].items()),
        at=now,
    )


def _standing(status: Status) -> Cell:
    if not status["ready"]:
        return Cell("Not ready", "bad", note="an app has no files to read yet")
    if not status["fresh"]:
        return Cell("Ready, not fresh", "warn", note="the apps have their files; some could not be compared with Vault")
    return Cell("Ready and fresh", "good", note="each app has its files, as they are in Vault")


def _facts(status: Status, now: float) -> Iterator[Fact]:
    apps = status["apps"].values()
    there = sum(app["generation"] is not None for app in apps)
    yield Fact("Apps with files", Cell(f"{there} of {len(apps)}", "good" if there == len(apps) else "bad"))
    owed = sum(app["notify"]["owed"] for app in apps)
    yield Fact("Still to be told", cell(count(owed, "app") if owed else "nobody", "warn" if owed else ""))
    away = [one["vault"] for one in status["identities"] if not one["vault"]["reachable"]]
    yield Fact("Vault", _weather(away[0], now) if away else Cell("reachable", "good"))
    events = status.get("events")
    if events is not None:
        yield Fact("Changes", _changes(events, now))
    ends = [lease["expires_at"] for lease in status["leases"] if lease["state"] == "held" and lease["expires_at"]]
    first = min(ends, key=seconds_of, default=None)
    yield Fact("First lease ends", moment(first, now, _near(first, now)) if first else cell("no lease has an end"))


def _changes(events: Status, now: float) -> Cell:
    source = events["source"]
    if not events["live"]:
        return cell("not told; each secret is looked at within its refresh", "warn", note=source)
    if events["last_at"] is None:
        return cell("told, none yet", "good", note=source)
    return moment(events["last_at"], now, "good", before="told, the last ", note=source)


def _apps(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(name),
            cell(app["state"].replace("_", " "), _TONES.get(app["state"], ""), note=_degraded(app)),
            cell(app["generation"]),
            moment(app["published_at"], now),
            _told(app, now),
            _proved(app),
            cell(app["error"], "bad", passing=_again(app["next_try"], now)),
        )
        for name, app in status["apps"].items()
    )
    columns = ("App", "State", "Generation", "Published", "Notified", "Ready", "Error")
    return table("apps", "Apps", columns, rows, "There is no app.")


def _degraded(app: Status) -> str:
    return f"degraded: {app['degraded']}" if app["degraded"] else ""


def _told(app: Status, now: float) -> Cell:
    said = app["notify"]
    if said["owed"]:
        return cell("still to be told", "bad" if said["error"] else "warn", note=said["error"])
    return moment(said["last"], now, note=said["error"])


def _proved(app: Status) -> Cell:
    proof = app["proof"]
    if proof is None:
        return cell("not asked for", "quiet")
    if proof["error"]:
        return cell("not ready", "bad", note=proof["error"])
    return cell("being looked at", "warn") if proof["open"] else cell("works", "good")


def _vaults(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(one["vault"]["address"]),
            _weather(one["vault"], now),
            moment(one["token"]["expires_at"], now, _near(one["token"]["expires_at"], now))
            if one["token"]
            else cell(None),
            cell(", ".join(one["apps"]) or "nobody any more"),
        )
        for one in status["identities"]
    )
    return table("vault", "Vault", ("Address", "Status", "Token ends", "For"), rows, "It asks no Vault.")


def _weather(vault: Status, now: float) -> Cell:
    if vault["reachable"]:
        return Cell("reachable", "good")
    again = _again(vault["next_try"], now)
    if vault["since"] is None:
        return cell("not reached yet", "bad", passing=again)
    return moment(vault["since"], now, "bad", before="away, ", passing=again)


def _leases(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(lease["path"]),
            _lease_state(lease),
            _left(lease, now),
            moment(lease["renew_at"], now) if lease["state"] == "held" else cell(None),
            cell(", ".join(lease["apps"])),
            cell(lease["error"], "bad", passing=_again(lease["next_try"], now)),
        )
        for lease in status["leases"]
    )
    columns = ("Path", "State", "Time left", "Acts", "For", "Trouble")
    return table("leases", "Leases", columns, rows, "It holds no lease.")


def _lease_state(lease: Status) -> Cell:
    tones: Mapping[str, Tone] = {"held": "good", "expired": "bad"}
    return cell(lease["state"], tones.get(lease["state"], "quiet"))


def _left(lease: Status, now: float) -> Cell:
    at = lease["expires_at"]
    if at is None:
        return cell("no end", "quiet")
    left = seconds_of(at) - now
    if left <= 0:
        return moment(at, now, "bad", before="ended ")
    return Cell(span(left), _near(at, now), at)


def _near(at: str | None, now: float) -> Tone:
    if at is None:
        return ""
    left = seconds_of(at) - now
    return "bad" if left <= 0 else "warn" if left < _NEAR else ""


def _secrets(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(secret["path"]),
            cell(name),
            cell(secret["version"]),
            moment(secret["read_at"], now),
            cell(secret["error"], "bad", passing=_again(secret["next_try"], now)),
        )
        for name, app in status["apps"].items()
        for secret in app["secrets"]
    )
    return table("secrets", "Secrets", ("Path", "App", "Version", "Read", "Trouble"), rows, "It reads no secret.")


def _again(at: str | None, now: float) -> str:
    return f"tried again {since(at, now)}" if at else ""
