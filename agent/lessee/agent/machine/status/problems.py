"""The problems of an agent, for the operator: what failed, why, and what to do. They contain no secret."""

from collections.abc import Iterator

from lessee.agent.machine.apps.inputs import optional_missing
from lessee.agent.machine.apps.notification import ENDED_REMEDY
from lessee.agent.machine.apps.state import App
from lessee.agent.machine.apps.version_reports import report_remedy
from lessee.agent.machine.leases.state import HeldLease, has_ended
from lessee.agent.machine.state import State
from lessee.core.failures import Kind
from lessee.core.paths import Need, Ref
from lessee.protocol.app_spec import app_of

SLOW_REQUEST = 3.0
"""Seconds without a response after which a pending request is a problem."""

_FALLBACK_SOURCES = {"env": "environment variables", "last_known_good": "its last-known-good snapshot"}


def problems_of(state: State, now: float) -> Iterator[str]:
    """One line for each problem."""
    yield from _vault_problems(state, now)
    yield from _secret_problems(state)
    for name, report in state.version_reports.items():
        if report.failure is not None:
            what = f"the rotator does not know which versions {name} uses: {report.failure.text}"
            yield f"{what}; {report_remedy(report.path)}"
    for name, app in state.apps.items():
        yield from _app_problems(state, name, app) if app.spec.supplies is None else _expiry(state, app_of(name), app)


def described(name: str) -> str:
    """The name of an app; of what is supplied to one, with the identity."""
    app, _, identity = name.partition("@")
    return f"{app} ({identity})" if identity else app


def _vault_problems(state: State, now: float) -> Iterator[str]:
    session, server = state.session, f"source {state.source}" if state.source else "vault"
    sent_at = min((request.sent_at for request in state.requests.values()), default=now)
    if session.outage is None and now - sent_at > SLOW_REQUEST:
        yield f"{server} has not answered a request for {now - sent_at:.0f} s"
    if session.outage is not None and session.outage.is_confirmed:
        yield f"{server} is unavailable: {session.outage.text}; files keep what it provided before"
    if session.failure is not None and state.source:
        yield f"{server} cannot be opened: {session.failure.text}"
    elif session.failure is not None:
        yield f"login {'pending' if session.failure.kind is Kind.PENDING else 'failed'}: {session.failure.text}"


def _secret_problems(state: State) -> Iterator[str]:
    for mount_name, mount in state.mounts.items():
        if mount.failure is not None:
            yield f"{mount_name}/: {mount.failure.text}"
    for folder_name, folder in state.folders.items():
        if folder.failure is not None:
            yield f"{folder_name}: {folder.failure.text}"
    compared = 0

    def remedy(need: Need) -> str:
        from lessee.agent.machine.status.denials import (  # noqa: PLC0415  # A policy that suffices denies nothing.
            MAX_SUGGESTIONS,
            policy_remedy,
            similar_path,
        )

        nonlocal compared
        compared += 1
        return policy_remedy(need, similar_path(state, need) if compared <= MAX_SUGGESTIONS else None)

    for ref, secret in state.secrets.items():
        if secret.failure is not None and not (secret.failure.kind is Kind.NOT_FOUND and _is_optional(state, ref)):
            todo = ""
            if secret.failure.kind is Kind.DENIED:
                todo = f"; {remedy(ref)}"
            elif secret.failure.kind is Kind.NOT_FOUND or not state.source:  # Of others, a source says what to do.
                todo = "; write it, or correct the path in the template"
            yield f"{ref}: {secret.failure.text}{todo}"
    for need, issuance in state.issuances.items():
        if issuance.failure is not None:
            todo = f"; {remedy(need)}" if issuance.failure.kind is Kind.DENIED else ""
            yield f"{need}: not {'read' if need.is_polled else 'issued'}: {issuance.failure.text}{todo}"
    for held in state.leases.values():
        if held.failure is not None:
            yield f"{held.lease.need}: not renewed: {held.failure.text}"


def _is_optional(state: State, ref: Ref) -> bool:
    """Whether the apps can be rendered without a secret."""
    return all(ref in state.apps[name].spec.optional for name in state.apps_by_need.get(ref, ()))


def _expiry(state: State, name: str, app: App) -> Iterator[str]:
    if (reason := expiry_of(state, app)) is not None:
        yield f"{name} is degraded: {reason}; its files remain unchanged until Vault issues a new lease"


def _app_problems(state: State, name: str, app: App) -> Iterator[str]:
    yield from _expiry(state, name, app)
    if (lacks := lacks_of(app)) is not None:
        yield f"{name} is degraded: {lacks}"
    if app.active_fallback is not None:
        source = _FALLBACK_SOURCES[app.active_fallback]
        yield f"{name} is degraded: its files come from {source}, until Vault is available"
    if app.fallback.error is not None:
        yield f"{name} has no fallback: {app.fallback.error}; it waits for Vault"
    if app.snapshot.error is not None:
        yield f"{name}: its last-known-good snapshot is not saved: {app.snapshot.error}"
    if app.problem is not None:
        yield f"{name} is not published: {app.problem.text}"
    if app.drift.error is not None:
        yield f"{name}: {app.drift.error}"
    if app.notification is not None and app.notification.error is not None:
        yield f"{name} is not notified: {app.notification.error}"
    if app.ended_at is not None:
        yield f"{name} ended after it was notified, and is not back; {ENDED_REMEDY}"
    yield from _readiness_problems(name, app)


def _readiness_problems(name: str, app: App) -> Iterator[str]:
    if app.publication is not None and app.publication.rolled_back is not None:
        error = app.publication.rolled_back.error
        what = f"{name} is rolled back to generation {app.publication.number}: it was not ready with the newest"
        reason = f": {error}" if error is not None else ""
        yield f"{what}{reason}; correct the secret, or try again with `lessee refresh`"
    elif app.unverified is not None and app.unverified.error is not None:
        yield f"{name} is not ready: {app.unverified.error}"


def expiry_of(state: State, app: App) -> str | None:
    """Which leases in the published files have ended."""
    ended = {str(held.lease.need) for held in _ended_leases(state, app)}
    return f"the lease of {', '.join(sorted(ended))} has expired" if ended else None


def lacks_of(app: App) -> str | None:
    """What the app's files may lack, because it is optional and not available."""
    missing = optional_missing(app) if app.spec.optional and app.publication is not None else {}
    return ", ".join(sorted(f"{need} is missing: {failure.text}" for need, failure in missing.items())) or None


def expired_since(state: State, app: App) -> float | None:
    """When the first of these leases ended."""
    return min((held.ended_at for held in _ended_leases(state, app) if held.ended_at is not None), default=None)


def _ended_leases(state: State, app: App) -> list[HeldLease]:
    publication, needs = app.publication, app.spec.needs
    if publication is None or not needs or not state.leases.count(has_ended):
        return []
    contents = publication.contents
    return [
        held
        for held in state.leases.values()
        if held.ended_at is not None
        and contents.may_contain(held.lease.id)
        and (contents.leases is not None or held.lease.need in needs)
    ]
