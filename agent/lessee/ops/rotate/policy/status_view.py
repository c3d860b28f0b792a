"""The rotation service's status.json, from which its metrics are derived."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lessee import __version__
from lessee.core.status_format import FORMAT
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.service_state import NEVER, State, TargetState
from lessee.ops.rotate.policy.timing import is_entry_due, is_failing, next_rotation_at

if TYPE_CHECKING:
    from lessee.ops.rotate.policy.status_fields import RotatorStatus, TargetFields


def status(state: State, now: float, *, environment: str | None, reload_error: str | None) -> "RotatorStatus":
    """The status, without values. `reload_error`: why the last change of the configuration is not in use."""
    problems = list(_problems(state, now, reload_error))
    return {
        "version": __version__,
        "format": FORMAT,
        "environment": environment,
        "ready": all(target.journal is not None for target in state.targets.values()) and not state.outage_attempts,
        "fresh": not problems,
        "vault": {"reachable": not state.outage_attempts, "last_checked_at": _rfc3339(state.last_checked_at)},
        "targets": {name: _target(name, target, state, now) for name, target in state.targets.items()},
        "problems": problems,
    }


def unconfirmed_consumers(target: TargetState) -> tuple[str, ...]:
    """The consumers that a rotation waits for, or that had not confirmed at the last revocation."""
    if target.journal is None:
        return ()
    if target.journal.step is Step.PUBLISHED:
        return target.confirmation.missing if target.confirmation is not None else ()
    return target.journal.missing


def _target(name: str, target: TargetState, state: State, now: float) -> "TargetFields":
    journal = target.journal or Journal()
    return {
        "step": journal.step.value,
        "in_progress": name in state.rotating,
        "open_seconds": round(max(0.0, now - journal.started_at), 3) if journal.is_open else None,
        "last_rotated_at": _rfc3339(journal.rotated_at),
        "next_rotation_at": _rfc3339(next_rotation_at(target)),
        "entry_due": is_entry_due(target, now),
        "rotation_period": target.settings.schedule.period,
        "rotation_count": journal.count,
        "propagation_seconds": round(journal.propagation_times[-1], 3) if journal.propagation_times else None,
        "unconfirmed_consumers": list(unconfirmed_consumers(target)),
        "consecutive_failures": target.failures,
        "failing": is_failing(target),
        "last_failed_at": _rfc3339(target.failed_at) if target.failures else None,
        "error": state.unreadable.get(name) or target.error or None,
    }


def _problems(state: State, now: float, reload_error: str | None) -> Iterator[str]:
    if reload_error is not None:
        yield f"the last change of the configuration is not in use: {reload_error}"
    if state.outage_attempts:
        what = "Vault refuses the login" if state.login_refused else "Vault is unavailable"
        yield f"{what}: {state.outage_reason}"
    for name, target in state.targets.items():
        if name in state.unreadable:
            yield f"{name}: its journal cannot be read: {state.unreadable[name]}"
        if is_failing(target):
            yield f"{name}: {target.failures} consecutive failures; the old credential stays valid: {target.error}"
        if is_entry_due(target, now):
            last = _rfc3339(target.journal.rotated_at) if target.journal is not None else None
            since = f"last rotated {last}" if last else "never rotated"
            yield f"{name}: due, {since}: create a new credential, and run `lessee rotate {name} --enter`"
        if target.period_error:
            yield f"{name}: {target.period_error}"


def _rfc3339(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if 0 < seconds < NEVER else None
