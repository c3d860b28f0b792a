"""Checks the status of a running agent."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lessee.ops.validate.policy.results import Reporter, Result

NAMES = ("agent-ready", "agent-fresh", "agent-not-degraded", "leases-renewed")
_OVERDUE = 60.0
"""Seconds after its time when a renewal counts as late."""
_TODO = "see `lessee status` for the problem"


def check_status(reporter: Reporter, status: Mapping[str, Any], now: float) -> Iterator[Result]:
    """A result for each of NAMES. `status`: of status.json; `now`: seconds since 1970."""
    ready, fresh, degraded, leases = NAMES
    if status["ready"]:
        yield reporter.passed(ready, "the agent is ready: each app has its files")
    else:
        waiting = sorted(name for name, app in status["apps"].items() if not app["generation"])
        missing = ", ".join(waiting) or "an app that it refused"
        yield reporter.critical(ready, f"the agent is not ready: no files yet for {missing}", _TODO)
    if status["fresh"]:
        yield reporter.passed(fresh, "the agent's files are fresh")
    else:
        yield reporter.warning(fresh, "the agent's files may be outdated: a source is unavailable", _TODO)
    names = sorted(name for name, app in status["apps"].items() if app["degraded"])
    if names:
        yield reporter.warning(degraded, f"degraded apps: {', '.join(names)}", _TODO)
    else:
        yield reporter.passed(degraded, "no app is degraded")
    yield _check_leases(reporter, leases, status["leases"], now)


def _check_leases(reporter: Reporter, check: str, leases: Iterable[Mapping[str, Any]], now: float) -> Result:
    current = [lease for lease in leases if lease["state"] != "retiring"]
    todo = f"{_TODO}: check that the agent can reach Vault, and may renew leases"
    expired = [lease["path"] for lease in current if lease["state"] == "expired" or _is_past(lease["expires_at"], now)]
    if expired:
        return reporter.critical(check, f"apps use expired leases: {', '.join(expired)}", todo)
    late = [lease["path"] for lease in current if _is_past(lease["renew_at"], now - _OVERDUE)]
    if late:
        return reporter.warning(check, f"leases are not renewed in time: {', '.join(late)}", todo)
    return reporter.passed(check, f"all {len(current)} leases are renewed in time" if current else "no leases")


def _is_past(at: str | None, now: float) -> bool:
    return at is not None and datetime.fromisoformat(at).timestamp() <= now
