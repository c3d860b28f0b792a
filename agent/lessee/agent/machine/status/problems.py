"""What is wrong, in words for the operator, without a value."""

from collections.abc import Iterator

from lessee.agent.machine.apps.version_reports import remedy
from lessee.agent.machine.leases.consumers import may_show
from lessee.agent.machine.state import App, Held, State
from lessee.agent.machine.status.one_shot import grant
from lessee.core.failures import Kind

SLOW = 3.0
"""Seconds without an answer that are told."""

_MADE = {"env": "the agent's environment", "last_known_good": "its last good secrets"}


def troubles(state: State, now: float) -> Iterator[str]:
    """What is wrong and what to do, one line each."""
    session = state.session
    asked_at = min((call.sent_at for call in state.calls.values()), default=now)
    if session.weather is None and now - asked_at > SLOW:
        yield f"vault has not answered a request for {now - asked_at:.0f} s"
    if session.weather is not None and session.weather.tries:
        yield f"vault does not serve: {session.weather.text}; the files stay as they are"
    if session.failure is not None:
        yield f"login failed: {session.failure.text}"
    yield from (f"{name}/: {m.failure.text}" for name, m in state.mounts.items() if m.failure is not None)
    yield from (f"{folder}: {g.failure.text}" for folder, g in state.groups.items() if g.failure is not None)
    for ref, source in state.sources.items():
        if source.failure is not None:
            todo = grant(ref) if source.failure.kind is Kind.DENIED else "write it, or mend the path in the template"
            yield f"{ref}: {source.failure.text}; {todo}"
    for need, supply in state.supplies.items():
        if supply.failure is not None:
            todo = f"; {grant(need)}" if supply.failure.kind is Kind.DENIED else ""
            yield f"{need}: not issued: {supply.failure.text}{todo}"
    for held in state.leases.values():
        if held.failure is not None:
            yield f"{held.lease.need}: not renewed: {held.failure.text}"
    for name, statement in state.reports.items():
        if statement.failure is not None:
            what = f"the rotator cannot see which versions {name} works with: {statement.failure.text}"
            yield f"{what}; {remedy(statement.where)}"
    for name, app in state.apps.items():
        if (why := ended(state, app)) is not None:
            yield f"{name} is degraded: {why}; its files stay until Vault gives another one"
        yield from _fallen_back(name, app)
        if app.problem is not None:
            yield f"{name} is not published: {app.problem}"
        if app.notify_error is not None:
            yield f"{name} is not notified: {app.notify_error}"
        yield from _unproved(name, app)


def _fallen_back(name: str, app: App) -> Iterator[str]:
    fallback = app.fallback
    if fallback.shown is not None:
        made = _MADE[fallback.shown]
        yield f"{name} is degraded: its files are made from {made}, for Vault was away; Vault's replace them"
    if fallback.error is not None:
        yield f"{name} has no fallback: {fallback.error}; it waits for Vault"
    if fallback.keep_error is not None:
        yield f"{name}: its last good secrets are not kept: {fallback.keep_error}"


def _unproved(name: str, app: App) -> Iterator[str]:
    proof = app.proof
    if proof.bad is not None:
        what = f"{name} is rolled back to generation {app.number}: with the newest it was not ready: {proof.error}"
        yield f"{what}; mend the secret, or try it again with `lessee refresh`"
    elif proof.open and proof.error is not None:
        yield f"{name} is not ready: {proof.error}"


def ended(state: State, app: App) -> str | None:
    """What its readers see and is no longer valid."""
    ended = {str(held.lease.need) for held in _ended_leases(state, app)}
    return f"the lease ended of {', '.join(sorted(ended))}" if ended else None


def ended_at(state: State, app: App) -> float | None:
    """Since when that is so."""
    return min((held.ended_at for held in _ended_leases(state, app) if held.ended_at is not None), default=None)


def _ended_leases(state: State, app: App) -> list[Held]:
    return [
        held
        for held in state.leases.values()
        if held.ended_at is not None
        and app.want.needs
        and may_show(app, held.lease.id)
        and (app.shows is not None or held.lease.need in app.want.needs)
    ]
