"""What the service tells of itself: status.json, from which its metrics come too."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from lessee import __version__
from lessee.ops.rotate.policy.due import due, is_failing
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.service_state import NEVER, State, Target


def status(state: State, now: float, *, environment: str | None, trouble: str | None) -> Mapping[str, Any]:
    """`trouble`: why the configuration's last edit is not in force. No value is in it."""
    problems = list(_problems(state, trouble))
    return {
        "version": __version__,
        "environment": environment,
        "ready": all(one.journal is not None for one in state.targets.values()) and not state.away_tries,
        "fresh": not problems,
        "vault": {"reachable": not state.away_tries, "looked_at": _spelled(state.looked_at)},
        "targets": {name: _target(name, one, state, now) for name, one in state.targets.items()},
        "problems": problems,
    }


def missing(one: Target) -> tuple[str, ...]:
    """The consumers that are waited for, or else those that the last retirement did not wait for any longer."""
    if one.journal is None:
        return ()
    if one.journal.step is Step.PUBLISHED:
        return one.standing.missing if one.standing is not None else ()
    return one.journal.missing


def _target(name: str, one: Target, state: State, now: float) -> Mapping[str, Any]:
    journal = one.journal or Journal()
    return {
        "step": journal.step.value,
        "under_way": name in state.rotating,
        "open_for": round(max(0.0, now - journal.started_at), 3) if journal.is_open else None,
        "last": _spelled(journal.rotated_at),
        "next": _spelled(due(one)),
        "every": one.plan.schedule.every,
        "count": journal.count,
        "confirmed_in": round(journal.propagations[-1], 3) if journal.propagations else None,
        "missing": list(missing(one)),
        "failures": one.failures,
        "failing": is_failing(one),
        "failed": _spelled(one.failed_at) if one.failures else None,
        "error": state.unreadable.get(name) or one.error or None,
    }


def _problems(state: State, trouble: str | None) -> Iterator[str]:
    if trouble is not None:
        yield f"the configuration's last edit is not in force: {trouble}"
    if state.away_tries:
        yield f"Vault cannot be asked: {state.away_text}"
    for name, one in state.targets.items():
        if name in state.unreadable:
            yield f"{name}: its journal cannot be read: {state.unreadable[name]}"
        if is_failing(one):
            yield f"{name}: {one.failures} failures in a row; the old credential stays valid: {one.error}"
        if one.refusal:
            yield f"{name}: {one.refusal}"


def _spelled(moment: float) -> str | None:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds") if 0 < moment < NEVER else None
