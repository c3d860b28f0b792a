"""What a running agent says of itself: the state as status.json, without a value."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from lessee import __version__
from lessee.core.machine.events import Want
from lessee.core.machine.failures import Kind
from lessee.core.machine.inputs import inputs_of, looked_at
from lessee.core.machine.state import NEVER, App, State
from lessee.core.paths import Folder, Ref

LOOKS = 4.0
"""Rounds without a look after which a source is no longer called fresh: its own and three tries."""

_Moment = Callable[[float | None], str | None]


def ready(state: State) -> bool:
    """Every app has a generation to read."""
    return all(app.number is not None for app in state.apps.values())


def fresh(state: State, now: float) -> bool:
    """Every source was looked at within its `refresh` and three tries, and is as it was seen."""
    return all(_fresh(state, app.want, now) for app in state.apps.values())


def _fresh(state: State, want: Want, now: float) -> bool:
    def recent(moment: float | None) -> bool:
        return moment is not None and now - moment <= want.refresh * LOOKS

    groups = [state.groups[need] for need in want.needs if isinstance(need, Folder)]
    if not all(group.failure is None and recent(group.looked_at) for group in groups):
        return False
    for ref in inputs_of(state, want.needs):
        source = state.sources[ref]
        if source.failure is not None and source.failure.kind is Kind.MISSING and ref not in want.needs:
            continue  # a folder goes on without a secret that is gone
        if source.failure is not None or source.stale:
            return False
        if ref.version is None and not recent(looked_at(state, ref)):
            return False
    return True


def status(
    state: State, now: float, wall: float, *, environment: str | None, address: str, trouble: str | None = None
) -> Mapping[str, object]:
    """status.json. `now` on the boot clock and `wall` in seconds since 1970 are the same moment."""

    def at(moment: float | None) -> str | None:
        if moment is None or moment == NEVER:
            return None
        return datetime.fromtimestamp(wall - now + moment, UTC).isoformat(timespec="milliseconds")

    session = state.session
    weather, token = session.weather, session.token
    return {
        "version": __version__,
        "environment": environment,
        "ready": ready(state),
        "fresh": fresh(state, now),
        "problems": problems(state, trouble),
        "vault": {
            "address": address,
            "reachable": weather is None and session.reached_at is not None,
            "since": at(weather.since if weather else session.reached_at),
            "next_try": at(weather.next_at if weather else None),
            "polling": _polling(state),
        },
        "token": {"accessor": token.accessor, "expires_at": at(token.ends_at)} if token else None,
        "apps": {name: _app(state, app, at) for name, app in state.apps.items()},
        "leases": [],
        "totals": {
            "requests": state.totals.requests,
            "failures": state.totals.failures,
            "logins": state.totals.logins,
            "renders": state.totals.renders,
            "publishes": state.totals.publishes,
            "notifications": state.totals.notifications,
        },
    }


def problems(state: State, trouble: str | None = None) -> list[str]:
    """What is wrong and what to do, one line each. `trouble`: why an edited configuration is not in force."""
    lines = [f"the edited configuration is not in force: {line}" for line in (trouble or "").splitlines()]
    session = state.session
    if session.weather is not None:
        lines.append(f"vault cannot be reached: {session.weather.text}; the files stay as they are")
    if session.failure is not None:
        lines.append(f"login failed: {session.failure.text}")
    lines += [f"{name}/: {m.failure.text}" for name, m in state.mounts.items() if m.failure is not None]
    lines += [f"{folder}: {g.failure.text}" for folder, g in state.groups.items() if g.failure is not None]
    for ref, source in state.sources.items():
        if source.failure is not None:
            todo = "write it, or mend the path in the template"
            if source.failure.kind is Kind.DENIED:
                todo = "grant `read` in the token's policy"
            lines.append(f"{ref}: {source.failure.text}; {todo}")
    for name, app in state.apps.items():
        if app.problem is not None:
            lines.append(f"{name} is not published: {app.problem}")
        if app.notify_error is not None:
            lines.append(f"{name} is not notified: {app.notify_error}")
    return lines


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


def _app(state: State, app: App, at: _Moment) -> Mapping[str, object]:
    return {
        "generation": app.number,
        "published_at": at(app.published_at),
        "state": _state(app),
        "degraded": None,
        "next_try": at(_next_try(app)),
        "error": app.problem,
        "secrets": [_source(state, ref, at) for ref in sorted(inputs_of(state, app.want.needs), key=str)],
        "notify": {"owed": app.owed, "last": at(app.told_at), "error": app.notify_error},
    }


def _state(app: App) -> str:
    if app.rejected:
        return "refused"
    if app.number is None:
        return "waiting"
    if app.owed or not app.want.notifies:
        return "published"
    return "notified"


def _next_try(app: App) -> float | None:
    if app.owed and app.notify_error is not None:
        return app.notify_at
    return app.publish_at if app.dirty and app.tries else None


def _source(state: State, ref: Ref, at: _Moment) -> Mapping[str, object]:
    source = state.sources[ref]
    return {
        "path": str(ref),
        "version": source.marker.version if source.marker else None,
        "read_at": at(source.read_at),
        "looked_at": at(looked_at(state, ref)),
        "error": source.failure.text if source.failure else None,
    }
