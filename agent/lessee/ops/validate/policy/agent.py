"""How an agent is, by what its status says."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lessee.ops.validate.policy.results import Result, Teller

NAMES = ("agent-ready", "agent-fresh", "agent-not-degraded", "lease-headroom")
_OVERDUE = 60.0
"""Seconds after which a renewal that was to come is late."""
_TODO = "see `lessee status`, which says what is wrong"


def judge(tell: Teller, status: Mapping[str, Any], now: float) -> Iterator[Result]:
    """`status` as of status.json, `now` in seconds since 1970; a result for each of NAMES."""
    ready, fresh, degraded, leases = NAMES
    if status["ready"]:
        yield tell.passed(ready, "the agent is ready: every app has its files")
    else:
        waiting = sorted(name for name, app in status["apps"].items() if not app["generation"])
        yield tell.critical(ready, f"the agent is not ready: no files yet for {', '.join(waiting)}", _TODO)
    if status["fresh"]:
        yield tell.passed(fresh, "the agent's files are fresh")
    else:
        yield tell.warning(fresh, "the agent's files may be old: a source could not be looked at", _TODO)
    names = sorted(name for name, app in status["apps"].items() if app["degraded"])
    if names:
        yield tell.warning(degraded, f"degraded: {', '.join(names)}", _TODO)
    else:
        yield tell.passed(degraded, "no app is degraded")
    yield _leases(tell, leases, status["leases"], now)


def _leases(tell: Teller, check: str, leases: Iterable[Mapping[str, Any]], now: float) -> Result:
    held = [lease for lease in leases if lease["state"] != "retiring"]
    todo = f"{_TODO}: can the agent reach Vault, and may it renew?"
    ended = [one["path"] for one in held if one["state"] == "expired" or _is_over(one["expires_at"], now)]
    if ended:
        return tell.critical(check, f"leases that have ended are in use: {', '.join(ended)}", todo)
    late = [one["path"] for one in held if _is_over(one["renew_at"], now - _OVERDUE)]
    if late:
        return tell.warning(check, f"leases are not renewed in time: {', '.join(late)}", todo)
    return tell.passed(check, f"none of {len(held)} leases is about to end" if held else "no leases are held")


def _is_over(at: str | None, now: float) -> bool:
    return at is not None and datetime.fromisoformat(at).timestamp() <= now
