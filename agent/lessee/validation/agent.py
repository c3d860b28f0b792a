"""An agent that runs here, by what its status socket says."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from lessee.core.errors import AgentAway
from lessee.core.validation.results import Result, Teller
from lessee.host.status import ask
from lessee.validation.checks import Check, NotLooked
from lessee.validation.subject import Subject

_NAMES = ("agent-ready", "agent-fresh", "agent-not-degraded", "lease-headroom")
_OVERDUE = 60.0
"""Seconds after which a renewal that was to come is late; while Vault is away it is tried at least as often."""


def check(subject: Subject, tell: Teller) -> Check:
    """Nothing is looked at where no agent runs."""
    return Check(tell.component, _NAMES, partial(_look, subject, tell))


def _look(subject: Subject, tell: Teller) -> Iterator[Result]:
    socket = Path(subject.config.status.socket)
    try:
        status = ask(socket, "GET", "/status.json", timeout=subject.timeout)
    except AgentAway:
        raise NotLooked(f"no agent answers at {socket}") from None
    todo = "see `lessee status`, which says what is wrong"
    if status["ready"]:
        yield tell.passed("agent-ready", "the agent is ready: every app has its files")
    else:
        waiting = sorted(name for name, app in status["apps"].items() if not app["generation"])
        yield tell.critical("agent-ready", f"the agent is not ready: no files yet for {', '.join(waiting)}", todo)
    if status["fresh"]:
        yield tell.passed("agent-fresh", "the agent's files are fresh")
    else:
        yield tell.warning("agent-fresh", "the agent's files may be old: a source could not be looked at", todo)
    degraded = sorted(name for name, app in status["apps"].items() if app["degraded"])
    if degraded:
        yield tell.warning("agent-not-degraded", f"degraded: {', '.join(degraded)}", todo)
    else:
        yield tell.passed("agent-not-degraded", "no app is degraded")
    yield _leases(subject, status["leases"], tell)


def _leases(subject: Subject, leases: list[Mapping[str, Any]], tell: Teller) -> Result:
    held = [lease for lease in leases if lease["state"] != "retiring"]
    todo = "see `lessee status`: can the agent reach Vault, and may it renew?"
    ended = [lease["path"] for lease in held if lease["state"] == "expired" or _left(lease, "expires_at", subject) <= 0]
    if ended:
        return tell.critical("lease-headroom", f"leases that have ended are in use: {', '.join(ended)}", todo)
    late = [lease["path"] for lease in held if _left(lease, "renew_at", subject) < -_OVERDUE]
    if late:
        return tell.warning("lease-headroom", f"leases are not renewed in time: {', '.join(late)}", todo)
    return tell.passed("lease-headroom", f"{len(held)} leases are held, and none is about to end")


def _left(lease: Mapping[str, Any], key: str, subject: Subject) -> float:
    at = lease.get(key)
    return datetime.fromisoformat(at).timestamp() - subject.now if at else 0.1
