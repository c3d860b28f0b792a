"""What a running agent says of itself: the state as status.json, without a value."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lessee import __version__
from lessee.agent.machine.apps.inputs import inputs_of, looked_at
from lessee.agent.machine.leases.renewal import ends_at
from lessee.agent.machine.protocol.app_spec import Want
from lessee.agent.machine.state import NEVER, App, Held, Source, State, Supply
from lessee.agent.machine.status.counters import Totals
from lessee.agent.machine.status.problems import ended, ended_at, troubles
from lessee.core.failures import Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Ref

LOOKS = 4.0
"""Rounds without a look after which a source is no longer called fresh: its own and three tries."""

_Moment = Callable[[float | None], str | None]


class Account(ImmutableStruct, frozen=True):
    """What the agent is in one identity's name. `address` is the one in use; `id` tells this identity from others."""

    id: str
    address: str
    state: State


def ready(state: State) -> bool:
    """Every app has a generation to read."""
    return all(app.number is not None for app in state.apps.values())


def fresh(state: State, now: float) -> bool:
    """Every source was looked at within its `refresh` and three tries, and is as it was seen."""
    return all(app.fallback.shown is None and _fresh(state, app.want, now) for app in state.apps.values())


def _fresh(state: State, want: Want, now: float) -> bool:
    hearing, near = state.hearing, want.refresh * LOOKS
    # Whoever is told of changes knows, without a look, that there was none.
    is_told = now - (now if hearing.live else hearing.until) <= near
    longest = max(near, hearing.poll * LOOKS) if is_told else near

    def recent(moment: float | None) -> bool:
        return moment is not None and now - moment <= longest

    groups = [state.groups[need] for need in want.needs if isinstance(need, Folder)]
    if not all(group.failure is None and recent(group.looked_at) for group in groups):
        return False
    if any(isinstance(need, DynamicSecret) and not _valid(state, need) for need in want.needs):
        return False
    for ref in inputs_of(state, want.needs):
        source = state.sources[ref]
        if source.failure is not None and source.failure.kind is Kind.NOT_FOUND and ref not in want.needs:
            continue  # a folder goes on without a secret that is gone
        if source.failure is not None or source.stale:
            return False
        if ref.version is None and not recent(looked_at(state, ref)):
            return False
    return True


def _valid(state: State, need: DynamicSecret) -> bool:
    held = state.leases.get(state.supplies[need].lease or "")
    return held is not None and held.ended_at is None


def status(
    accounts: Sequence[Account], now: float, wall: float, *, environment: str | None, trouble: str | None = None
) -> Mapping[str, Any]:
    """status.json. `now` on the boot clock and `wall` in seconds since 1970 are the same moment.

    The first account is the one that `vault` and `token` tell of.
    """

    def at(moment: float | None) -> str | None:
        if moment is None or moment == NEVER:
            return None
        return datetime.fromtimestamp(wall - now + moment, UTC).isoformat(timespec="milliseconds")

    states = [account.state for account in accounts]
    identities = [_identity(account, at) for account in accounts]
    first = identities[0]
    lines = [line for account in accounts for line in problems(account, now, among=len(accounts))]
    return {
        "version": __version__,
        "environment": environment,
        "ready": all(map(ready, states)),
        "fresh": all(fresh(state, now) for state in states),
        "problems": [*_of_the_edit(trouble), *lines],
        "vault": first["vault"],
        "token": first["token"],
        "identities": identities,
        "apps": {name: _app(state, app, at, now) for state in states for name, app in state.apps.items()},
        "leases": [_lease(state, held, at, now) for state in states for held in state.leases.values()],
        "totals": {name: sum(getattr(state.totals, name) for state in states) for name in Totals.__struct_fields__},
    }


def _identity(account: Account, at: _Moment) -> Mapping[str, object]:
    state = account.state
    session = state.session
    weather, token = session.weather, session.token
    return {
        "id": account.id,
        "apps": sorted(state.apps),
        "vault": {
            "address": account.address,
            "reachable": session.reached_at is not None and (weather is None or not weather.tries),
            "since": at(weather.since if weather else session.reached_at),
            "next_try": at(weather.next_at if weather else None),
            "polling": _polling(state),
        },
        "token": {"accessor": token.accessor, "expires_at": at(token.ends_at)} if token else None,
    }


def _of_the_edit(trouble: str | None) -> list[str]:
    return [f"the edited configuration is not in force: {line}" for line in (trouble or "").splitlines()]


def problems(account: Account, now: float, *, among: int = 1) -> list[str]:
    """What is wrong and what to do, one line each; of one among several identities, each with whom it serves."""
    lines = list(troubles(account.state, now))
    if among == 1:
        return lines
    whose = ", ".join(sorted(account.state.apps)) or "an identity of before"
    return [f"{whose}: {line}" for line in lines]


def _polling(state: State) -> Mapping[str, str]:
    """How changes in each folder are noticed."""
    said = {}
    for folder, group in state.groups.items():
        refs = [ref for ref in state.sources if ref.folder == folder and ref.version is None]
        if group.by_list:
            said[str(folder)] = "list"
        elif refs and all(state.sources[ref].blind for ref in refs):
            said[str(folder)] = "data"
        else:
            said[str(folder)] = "metadata"
    return said


def _app(state: State, app: App, at: _Moment, now: float) -> Mapping[str, object]:
    return {
        "generation": app.number,
        "published_at": at(app.published_at),
        "state": _state(app),
        "fresh": app.fallback.shown is None and _fresh(state, app.want, now),
        "looked_at": at(_looked_at(state, app.want)),
        "degraded": app.fallback.shown or ended(state, app),
        "degraded_since": at(app.published_at if app.fallback.shown is not None else ended_at(state, app)),
        "next_try": at(_next_try(app)),
        "error": app.problem,
        "secrets": [
            *(_source(state, ref, at) for ref in sorted(inputs_of(state, app.want.needs), key=str)),
            *(_supply(state, need, at) for need in sorted(app.want.needs, key=str) if isinstance(need, DynamicSecret)),
        ],
        "notify": {"owed": app.owed, "last": at(app.told_at), "error": app.notify_error},
        "proof": {"open": app.proof.open, "error": app.proof.error} if app.want.proves else None,
    }


def _lease(state: State, held: Held, at: _Moment, now: float) -> Mapping[str, object]:
    lease = held.lease
    end = ends_at(state, lease)
    return {
        "path": str(lease.need),
        "lease_id": lease.lease_id or None,
        "issued_at": at(lease.issued_at),
        "expires_at": at(end if not lease.static else None),
        "expires_in": round(end - now, 3) if end != NEVER else None,
        "renew_at": at(min(held.renew_at, held.replace_at)),
        "state": "expired" if held.ended_at is not None else "held" if held.standing == "current" else "retiring",
        "apps": sorted(lease.apps),
        **_trouble(held, held.next_at, at),
    }


def _looked_at(state: State, want: Want) -> float | None:
    """When the KV source was looked at that was looked at longest ago; None: one never was, or there is none."""
    moments = [looked_at(state, ref) for ref in inputs_of(state, want.needs) if ref.version is None]
    known = [moment for moment in moments if moment is not None]
    return min(known, default=None) if len(known) == len(moments) else None


def _state(app: App) -> str:
    if app.rejected:
        return "refused"
    if app.number is None:
        return "waiting"
    if app.proof.bad is not None:
        return "rolled_back"
    if app.owed:
        return "published"
    if app.want.proves and not app.proof.open:
        return "confirmed"
    return "notified" if app.want.notifies else "published"


def _next_try(app: App) -> float | None:
    if app.owed and app.notify_error is not None:
        return app.notify_at
    return app.publish_at if app.dirty and app.tries else None


def _source(state: State, ref: Ref, at: _Moment) -> Mapping[str, object]:
    source = state.sources[ref]
    return {
        "path": str(ref),
        "version": source.metadata.version if source.metadata else None,
        "read_at": at(source.read_at),
        "looked_at": at(looked_at(state, ref)),
        **_trouble(source, source.next_at, at),
    }


def _supply(state: State, need: DynamicSecret, at: _Moment) -> Mapping[str, object]:
    supply = state.supplies[need]
    held = state.leases.get(supply.lease or "")
    return {
        "path": str(need),
        "version": None,
        "read_at": at(held.lease.issued_at if held is not None else None),
        "looked_at": at(held.lease.sent_at if held is not None else None),
        **_trouble(supply, supply.next_at, at),
    }


def _trouble(item: Source | Supply | Held, next_at: float, at: _Moment) -> Mapping[str, object]:
    """What is wrong, since when, and when it is tried again."""
    wrong = item.failure is not None
    return {
        "error": item.failure.text if item.failure is not None else None,
        "since": at(item.since if wrong else None),
        "next_try": at(next_at if wrong else None),
    }
