"""The status document of a running agent (`lessee status --json`), without any secret."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, cast

from lessee import __version__
from lessee.agent.machine.apps.inputs import kv_secrets_of, last_checked_at
from lessee.agent.machine.apps.state import (
    App,
    FailedGeneration,
    PendingNotification,
    Publication,
    Ready,
    Rejected,
    Unverified,
    WriteFailed,
)
from lessee.agent.machine.kv.state import KvSecret
from lessee.agent.machine.leases.renewal import ends_at
from lessee.agent.machine.leases.state import HeldLease, Issuance
from lessee.agent.machine.session.state import NEVER, RevokedLogin
from lessee.agent.machine.state import ROUND_BOUNDS, Counters, State
from lessee.agent.machine.status.problems import described, expired_since, expiry_of, lacks_of, problems_of
from lessee.core.failures import Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.status_format import FORMAT
from lessee.core.tokens import Token
from lessee.protocol.app_spec import AppSpec, app_of

if TYPE_CHECKING:
    from lessee.agent.machine.status.fields import (
        AgentStatus,
        AppFields,
        Failure,
        IdentityFields,
        LeaseFields,
        ReadinessFields,
        RevokedLoginFields,
        RoundsFields,
        SecretFields,
        TokenFields,
        TotalsFields,
    )

FRESH_INTERVALS = 4.0
"""Intervals without a check after which a secret is not fresh: one regular check, and three retries."""

CLOCK_DIFFERENCE = 60.0
"""Seconds by which this machine's clock may differ from that of an operator."""

_Timestamp = Callable[[float | None], str | None]


class IdentityStatus(ImmutableStruct, frozen=True):
    """One identity of the agent. `address` is the server in use; `id` distinguishes this identity from others."""

    id: str
    address: str
    state: State


def ready(state: State) -> bool:
    """Whether every app has a published generation."""
    return all(app.publication is not None or app.spec.supplies is not None for app in state.apps.values())


def fresh(state: State, now: float) -> bool:
    """Whether every secret was checked in time, and every app has the files that it should have by now."""
    return all(_is_app_fresh(state, app, now) for app in state.apps.values())


def _is_app_fresh(state: State, app: App, now: float) -> bool:
    return _has_newest_files(app) and _are_secrets_fresh(state, app.spec, now)


def _has_newest_files(app: App) -> bool:
    """Whether readers see the newest generation, rendered from Vault and as it was published."""
    is_rolled_back = app.publication is not None and app.publication.rolled_back is not None
    is_published = app.problem is None and app.drift.error is None
    return is_published and not is_rolled_back and app.active_fallback is None


def _are_secrets_fresh(state: State, spec: AppSpec, now: float) -> bool:
    source, limit = state.event_source, spec.refresh_interval * FRESH_INTERVALS
    # A live event source shows without any check that nothing has changed.
    is_live = now - (now if source.live else source.last_live_at) <= limit
    limit = max(limit, source.poll_interval * FRESH_INTERVALS) if is_live else limit

    def is_recent(moment: float | None) -> bool:
        return moment is not None and now - moment <= limit

    folders = [state.folders[need] for need in spec.needs if isinstance(need, Folder)]
    if not all(folder.failure is None and is_recent(folder.last_checked_at) for folder in folders):
        return False
    if not all(_is_lease_fresh(state, need, now) for need in spec.needs if isinstance(need, DynamicSecret)):
        return False
    for ref in kv_secrets_of(state, spec.needs):
        secret = state.secrets[ref]
        is_needed = ref in spec.needs and ref not in spec.optional
        if secret.failure is not None and secret.failure.kind is Kind.NOT_FOUND and not is_needed:
            continue  # It is rendered without a secret that does not exist.
        if secret.failure is not None or secret.stale:
            return False
        if ref.version is None and not is_recent(last_checked_at(state, ref)):
            return False
    return True


def _is_lease_fresh(state: State, need: DynamicSecret, now: float) -> bool:
    """Whether there is a lease that has not ended; or, where a template says how often to read it, a recent answer."""
    held = state.leases.get(state.issuances[need].lease or "")
    if held is None or held.ended_at is not None:
        return False
    return not (need.is_polled and need.every) or now - held.lease.sent_at <= need.every * FRESH_INTERVALS


def status(
    identities: Sequence[IdentityStatus],
    now: float,
    wall: float,
    *,
    environment: str | None,
    reload_error: str | None = None,
    refused: Mapping[str, str] | None = None,
) -> "AgentStatus":
    """The status document. `now` on the boot clock and `wall` in seconds since 1970 are the same moment.

    The keys `vault` and `token` describe the first identity. `refused`: why apps are not served as configured, or not
    at all.
    """

    def at(moment: float | None) -> str | None:
        if moment is None or moment == NEVER:
            return None
        return datetime.fromtimestamp(wall - now + moment, UTC).isoformat(timespec="milliseconds")

    states = [identity.state for identity in identities]
    supplies: dict[str, list[tuple[State, App]]] = {}
    for state in states:
        for name, app in state.apps.items():
            if app.spec.supplies is not None:
                supplies.setdefault(app_of(name), []).append((state, app))
    refused = refused or {}
    is_complete = all(any(name in state.apps for state in states) for name in refused)
    described = [_identity(identity, at, wall - now) for identity in identities]
    lines = [line for identity in identities for line in problems(identity, now, among=len(identities))]
    return {
        "version": __version__,
        "format": FORMAT,
        "environment": environment,
        "ready": is_complete and all(map(ready, states)),
        "fresh": not refused and reload_error is None and all(fresh(state, now) for state in states),
        "problems": [*_reload_problems(reload_error), *_refusals(refused), *lines],
        "vault": described[0]["vault"],
        "token": described[0]["token"],
        "identities": described,
        "apps": {
            name: _app(state, app, at, now, supplies.get(name, ()), refused.get(name))
            for state in states
            for name, app in state.apps.items()
            if app.spec.supplies is None
        },
        "leases": [_lease(state, held, at, now) for state in states for held in state.leases.values()],
        "rounds": _rounds(states),
        "totals": _totals(states),
    }


def problems(identity: IdentityStatus, now: float, *, among: int = 1) -> list[str]:
    """One line for each problem; with the apps of the identity if there are several identities."""
    lines = list(problems_of(identity.state, now))
    if among == 1:
        return lines
    apps = ", ".join(sorted(map(described, identity.state.apps))) or "an identity without apps"
    return [f"{apps}: {line}" for line in lines]


def _rounds(states: Sequence[State]) -> "RoundsFields":
    """The durations of all identities' rounds: `buckets`, with the rounds up to each bound, `count` and `sum`."""
    counts = list(accumulate(map(sum, zip(*(state.rounds.counts for state in states), strict=True))))
    counts = counts or [0] * (len(ROUND_BOUNDS) + 1)
    total = sum(state.rounds.total for state in states)
    buckets = [list(pair) for pair in zip(ROUND_BOUNDS, counts[:-1], strict=True)]
    return {"buckets": buckets, "count": counts[-1], "sum": round(total, 6)}


def _totals(states: Sequence[State]) -> "TotalsFields":
    names = Counters.__struct_fields__
    return cast("TotalsFields", {name: sum(getattr(state.counters, name) for state in states) for name in names})


def _reload_problems(reload_error: str | None) -> list[str]:
    return [f"the edited configuration is not in effect: {line}" for line in (reload_error or "").splitlines()]


def _refusals(refused: Mapping[str, str]) -> list[str]:
    return [f"{name}: refused: {line}" for name, reason in refused.items() for line in reason.splitlines()]


def _identity(identity: IdentityStatus, at: _Timestamp, boot: float) -> "IdentityFields":
    """`boot`: seconds since 1970 at which the boot clock began."""
    state = identity.state
    session = state.session
    outage, token = session.outage, session.token
    return {
        "id": identity.id,
        "source": state.source or None,
        "apps": sorted(set(map(app_of, state.apps))),
        "vault": {
            "address": identity.address,
            "reachable": session.last_response_at is not None and (outage is None or not outage.is_confirmed),
            "since": at(outage.since if outage else session.last_response_at),
            "next_retry_at": at(outage.next_at if outage else None),
            "polling": _polling(state),
        },
        "token": _token(token, at) if token and not state.source else None,
        "revoked_login": _revoked_login(session.revoked, at, boot) if session.revoked is not None else None,
    }


def _token(token: Token, at: _Timestamp) -> "TokenFields":
    return {"accessor": token.accessor, "expires_at": at(token.ends_at), "request_id": token.request_id}


def _revoked_login(revoked: RevokedLogin, at: _Timestamp, boot: float) -> "RevokedLoginFields | None":
    """An emergency counts only if it was while the agent had the login: a secret_id keeps its metadata."""
    earliest = revoked.valid_at + boot - CLOCK_DIFFERENCE if revoked.valid_at is not None else 0.0
    latest = max(filter(None, (revoked.found_at, revoked.logged_in_at))) + boot + CLOCK_DIFFERENCE
    by_emergency = earliest <= revoked.emergency_at <= latest
    if revoked.found_at is None and not by_emergency:
        return None
    return {
        "found_at": at(revoked.found_at),
        "emergency_at": at(revoked.emergency_at - boot) if by_emergency else None,
        "logged_in_at": at(revoked.logged_in_at),
    }


def _polling(state: State) -> Mapping[str, Literal["list", "metadata", "data"]]:
    """How changes in each folder are detected."""
    by_data: dict[Folder, bool] = {}
    for ref, secret in state.secrets.items():
        if ref.version is None:
            by_data[ref.folder] = secret.polls_data and by_data.get(ref.folder, True)
    return {
        str(name): "list" if folder.lists_metadata else "data" if by_data.get(name) else "metadata"
        for name, folder in state.folders.items()
    }


def _app(
    state: State,
    app: App,
    at: _Timestamp,
    now: float,
    supplied: Sequence[tuple[State, App]],
    refusal: str | None,
) -> "AppFields":
    """`supplied`: what other machines supply to the app, with their states. `refusal`: why it is not configured so."""
    publication = app.publication
    published_at = publication.published_at if publication is not None else None
    is_fallback = app.active_fallback is not None
    expiry = next((text for one in ((state, app), *supplied) if (text := expiry_of(*one)) is not None), None)
    expired = [moment for one in ((state, app), *supplied) if (moment := expired_since(*one)) is not None]
    lacks = lacks_of(app)
    return {
        "generation": publication.number if publication is not None else None,
        "published_at": at(published_at),
        "pending": app.dirty or app.job is not None,
        "state": _app_state(app),
        "fresh": refusal is None and all(_is_app_fresh(*one, now) for one in ((state, app), *supplied)),
        "last_checked_at": at(_oldest_check((state, app), *supplied)),
        "degraded": app.active_fallback or expiry or lacks,
        "degraded_since": at(published_at if is_fallback or (lacks and not expired) else min(expired, default=None)),
        "next_retry_at": at(_next_retry_at(app)),
        "error": app.problem.text if app.problem is not None else refusal,
        "consumer": _consumer(app.spec),
        "secrets": [secret for one in ((state, app), *supplied) for secret in _secrets(*one, at)],
        "notify": {
            "pending": app.notification is not None,
            "last": at(app.notified_at),
            "error": app.notification.error if app.notification is not None else None,
        },
        "ended_at": at(app.ended_at),
        "readiness": _readiness(app) if app.spec.probes else None,
        "drift": {
            "total": app.drift.total,
            "last": at(app.drift.found_at),
            "found": app.drift.found or None,
            "error": app.drift.error,
        },
    }


def _consumer(spec: AppSpec) -> str | None:
    """APP/INSTANCE, the name under which the agent reports to the rotator."""
    return "/".join(spec.report_target.path.split("/")[-2:]) if spec.report_target is not None else None


def _secrets(state: State, app: App, at: _Timestamp) -> Iterator["SecretFields"]:
    where = f"{app.spec.supplies}:" if app.spec.supplies and not state.source else ""
    for ref in sorted(kv_secrets_of(state, app.spec.needs), key=str):
        yield _kv_secret(state, ref, at, where)
    for need in sorted(app.spec.needs, key=str):
        if isinstance(need, DynamicSecret):
            yield _dynamic_secret(state, need, at, where)


def _app_state(app: App) -> Literal["waiting", "published", "notified", "ready", "rolled_back", "rejected"]:
    if isinstance(app.problem, Rejected):
        return "rejected"
    match app.publication:
        case None:
            return "waiting"
        case Publication(rolled_back=FailedGeneration()):
            return "rolled_back"
        case Publication(notification=PendingNotification()):
            return "published"
        case Publication(readiness=Ready()) if app.spec.probes:
            return "ready"
        case _:
            return "notified" if app.spec.notifies else "published"


def _readiness(app: App) -> "ReadinessFields":
    match app.publication:
        case Publication(readiness=Unverified(error=error)):
            return {"pending": True, "error": error}
        case Publication(rolled_back=FailedGeneration(error=error)):
            return {"pending": False, "error": error}
        case _:
            return {"pending": False, "error": None}


def _next_retry_at(app: App) -> float | None:
    if app.notification is not None and app.notification.error is not None:
        return app.notification.next_at
    return app.problem.next_at if isinstance(app.problem, WriteFailed) else None


def _oldest_check(*parts: tuple[State, App]) -> float | None:
    """The oldest last check of the app's KV secrets; None if there are none, or one was never checked."""
    moments = [
        last_checked_at(state, ref)
        for state, app in parts
        for ref in kv_secrets_of(state, app.spec.needs)
        if ref.version is None
    ]
    known = [moment for moment in moments if moment is not None]
    return min(known, default=None) if len(known) == len(moments) else None


def _kv_secret(state: State, ref: Ref, at: _Timestamp, where: str) -> "SecretFields":
    secret = state.secrets[ref]
    return {
        "path": f"{where}{ref}",
        "version": secret.metadata.version if secret.metadata else None,
        "read_at": at(secret.last_read_at),
        "last_checked_at": at(last_checked_at(state, ref)),
        **_failure(secret, at),
    }


def _dynamic_secret(state: State, need: DynamicSecret, at: _Timestamp, where: str) -> "SecretFields":
    issuance = state.issuances[need]
    held = state.leases.get(issuance.lease or "")
    return {
        "path": f"{where}{need}",
        "version": None,
        "read_at": at(held.lease.issued_at if held is not None else None),
        "last_checked_at": at(held.lease.sent_at if held is not None else None),
        **_failure(issuance, at),
    }


def _lease(state: State, held: HeldLease, at: _Timestamp, now: float) -> "LeaseFields":
    lease = held.lease
    end = ends_at(state, lease)
    return {
        "path": str(lease.need),
        "lease_id": lease.lease_id or None,
        "issued_at": at(lease.issued_at),
        "expires_at": at(end if not lease.static else None),
        "expires_in": round(end - now, 3) if end != NEVER else None,
        "renew_at": at(min(held.renew_at, held.replace_at)),
        "state": "expired" if held.ended_at is not None else "held" if held.status == "current" else "retiring",
        "apps": sorted(set(map(app_of, lease.apps))),
        **_failure(held, at),
    }


def _failure(item: KvSecret | Issuance | HeldLease, at: _Timestamp) -> "Failure":
    """The error, its start, and the next retry."""
    if item.failure is None:
        return {"error": None, "since": None, "next_retry_at": None}
    return {"error": item.failure.text, "since": at(item.since), "next_retry_at": at(item.next_at)}
