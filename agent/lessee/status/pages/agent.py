"""The view of an agent: its apps, their notifications, secrets and leases, and the state of Vault."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.status.pages.components import Cell, Fact, Table, Tone, View, cell, table, time_cell
from lessee.status.pages.time_format import count, duration, epoch_seconds, printable, relative_time

Status = Mapping[str, Any]

_TONES: Mapping[str, Tone] = {
    "waiting": "warn",
    "published": "",
    "notified": "good",
    "ready": "good",
    "rolled_back": "bad",
    "rejected": "bad",
}
_EXPIRY_WARNING = 60.0
"""Seconds before the expiry of a lease or token from which on the view warns: it should have been renewed."""


def view(status: Status, now: float) -> View:
    """Build the view from the status of `lessee run` or `exec`."""
    return View(
        service="agent",
        version=printable(status["version"]),
        environment=printable(status["environment"] or ""),
        summary=_summary(status),
        facts=tuple(_facts(status, now)),
        problems=tuple(map(printable, status["problems"])),
        tables=(_apps(status, now), _vaults(status, now), _leases(status, now), _secrets(status, now)),
        totals=tuple(
            Fact(printable(name.replace("_", " ")), cell(f"{number:,}")) for name, number in status["totals"].items()
        ),
        at=now,
    )


def _summary(status: Status) -> Cell:
    if not status["ready"]:
        return Cell("Not ready", "bad", note="an app has no published files yet")
    if not status["fresh"]:
        return Cell(
            "Ready, not fresh",
            "warn",
            note="all apps have files, but some may be outdated: the problems below say why",
        )
    return Cell(
        "Ready and fresh", "good", note="all apps have their newest files, and every secret was checked in time"
    )


def _facts(status: Status, now: float) -> Iterator[Fact]:
    apps = status["apps"].values()
    published = sum(app["generation"] is not None for app in apps)
    yield Fact("Apps with files", Cell(f"{published} of {len(apps)}", "good" if published == len(apps) else "bad"))
    pending = sum(app["notify"]["pending"] for app in apps)
    yield Fact("Pending notifications", cell(count(pending, "app") if pending else "none", "warn" if pending else ""))
    unreachable = [identity["vault"] for identity in status["identities"] if not identity["vault"]["reachable"]]
    yield Fact("Vault", _vault_state(unreachable[0], now) if unreachable else Cell("reachable", "good"))
    for identity in status["identities"]:
        if revoked := identity.get("revoked_login"):
            yield Fact("Login", cell(revocation_text(revoked), "" if revoked["logged_in_at"] else "bad"))
    events = status.get("events")
    if events is not None:
        yield Fact("Change events", _events(events, now))
    ends = [lease["expires_at"] for lease in status["leases"] if lease["state"] == "held" and lease["expires_at"]]
    first = min(ends, key=epoch_seconds, default=None)
    yield Fact(
        "Next lease expiry", time_cell(first, now, _expiry_tone(first, now)) if first else cell("no lease expires")
    )


def revocation_text(revoked: Status) -> str:
    """What happened to a login that Vault ended before its time, and what to do if there is no new one."""
    emergency, again = revoked["emergency_at"], revoked["logged_in_at"]
    found = f"ended by Vault before its time, found {revoked['found_at']}"
    how = f"revoked by an emergency at {emergency}" if emergency else found
    if again is not None:
        before = "" if revoked["found_at"] else ", before this process started"
        return f"{how}{before}; logged in again {again}"
    todo = "after `lessee emergency`, `lessee setup --output DIR` writes new secret_ids; else remove old files first"
    return f"{how}; no new login: {todo}"


def _events(events: Status, now: float) -> Cell:
    source = events["source"]
    if not events["live"]:
        return cell("not connected; secrets are polled every refresh_interval", "warn", note=source)
    if events["last_at"] is None:
        return cell("connected, no event yet", "good", note=source)
    return time_cell(events["last_at"], now, "good", prefix="connected, last event ", note=source)


def _apps(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(name),
            cell(app["state"].replace("_", " "), _TONES.get(app["state"], ""), note=_state_note(app)),
            cell(app["generation"]),
            time_cell(app["published_at"], now),
            _notified(app, now),
            _ready(app),
            cell(app["error"], "bad", transient=_retry(app["next_retry_at"], now)),
        )
        for name, app in status["apps"].items()
    )
    columns = ("App", "State", "Generation", "Published", "Notified", "Ready", "Error")
    return table("apps", "Apps", columns, rows, "No app is configured.", group_by=1)


def _state_note(app: Status) -> str:
    return "; ".join(filter(None, (f"degraded: {app['degraded']}" if app["degraded"] else "", drift_text(app))))


def drift_text(app: Status) -> str:
    """How often another program has changed the app's published files, and what it changed last."""
    drift = app.get("drift")
    if drift is None or not drift["total"]:
        return ""
    times = count(drift["total"], "time")
    return f"files changed by another program {times}, last {drift['last']}: {drift['found']}"


def _notified(app: Status, now: float) -> Cell:
    notify = app["notify"]
    if notify["pending"]:
        return cell("pending", "bad" if notify["error"] else "warn", note=notify["error"])
    return time_cell(notify["last"], now, note=notify["error"])


def _ready(app: Status) -> Cell:
    readiness = app["readiness"]
    if readiness is None:
        return cell("not configured", "quiet")
    if readiness["error"]:
        return cell("not ready", "bad", note=readiness["error"])
    return cell("probing", "warn") if readiness["pending"] else cell("ready", "good")


def _vaults(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(_address(identity)),
            _vault_state(identity["vault"], now),
            time_cell(identity["token"]["expires_at"], now, _expiry_tone(identity["token"]["expires_at"], now))
            if identity["token"]
            else cell(None),
            cell(", ".join(identity["apps"]) or "none"),
        )
        for identity in status["identities"]
    )
    return table(
        "vault", "Vault", ("Address", "Status", "Token expires", "Apps"), rows, "No Vault server is configured."
    )


def _address(identity: Status) -> str:
    """The address of Vault; of a source, with its name."""
    address, source = identity["vault"]["address"], identity.get("source")
    return f"source {source}: {address}" if source else str(address)


def _vault_state(vault: Status, now: float) -> Cell:
    if vault["reachable"]:
        return Cell("reachable", "good")
    retry = _retry(vault["next_retry_at"], now)
    if vault["since"] is None:
        return cell("not reached yet", "bad", transient=retry)
    return time_cell(vault["since"], now, "bad", prefix="unreachable, since ", transient=retry)


def _leases(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(lease["path"]),
            _lease_state(lease),
            _expires_in(lease, now),
            time_cell(lease["renew_at"], now) if lease["state"] == "held" else cell(None),
            cell(", ".join(lease["apps"])),
            cell(lease["error"], "bad", transient=_retry(lease["next_retry_at"], now)),
        )
        for lease in status["leases"]
    )
    columns = ("Path", "State", "Expires in", "Next renewal", "Apps", "Error")
    return table("leases", "Leases", columns, rows, "There are no leases.", group_by=1)


def _lease_state(lease: Status) -> Cell:
    tones: Mapping[str, Tone] = {"held": "good", "expired": "bad"}
    return cell(lease["state"], tones.get(lease["state"], "quiet"))


def _expires_in(lease: Status, now: float) -> Cell:
    at = lease["expires_at"]
    if at is None:
        return cell("never", "quiet")
    left = epoch_seconds(at) - now
    if left <= 0:
        return time_cell(at, now, "bad", prefix="expired ")
    return Cell(duration(left), _expiry_tone(at, now), at)


def _expiry_tone(at: str | None, now: float) -> Tone:
    if at is None:
        return ""
    left = epoch_seconds(at) - now
    return "bad" if left <= 0 else "warn" if left < _EXPIRY_WARNING else ""


def _secrets(status: Status, now: float) -> Table:
    rows = tuple(
        (
            cell(secret["path"]),
            cell(name),
            cell(secret["version"]),
            time_cell(secret["read_at"], now),
            cell(secret["error"], "bad", transient=_retry(secret["next_retry_at"], now)),
        )
        for name, app in status["apps"].items()
        for secret in app["secrets"]
    )
    columns = ("Path", "App", "Version", "Read", "Error")
    return table("secrets", "Secrets", columns, rows, "No secret is read.", group_by=1, names=(0, 1))


def _retry(at: str | None, now: float) -> str:
    return f"next retry {relative_time(at, now)}" if at else ""
