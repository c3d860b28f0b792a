"""When the machine has something to do though nothing happens."""

from collections.abc import Iterator

from lessee.agent.machine.apps.fallback import falls_back_at, keeps_at
from lessee.agent.machine.apps.inputs import inputs, settles_at
from lessee.agent.machine.apps.lifecycle import prune_at
from lessee.agent.machine.apps.readiness import prove_at
from lessee.agent.machine.apps.version_reports import has_room_to_report, reports_at
from lessee.agent.machine.kv.reading import IN_FLIGHT, under_way
from lessee.agent.machine.leases.release import acts_at, goes_at, token_goes_at
from lessee.agent.machine.leases.renewal import asks_at, ends_at, has_room, issues_at, may_issue
from lessee.agent.machine.session.login import is_asked_for
from lessee.agent.machine.state import NEVER, State


def wake_at(state: State) -> float:
    """The moment on the boot clock for which `step` plans something; NEVER where it only waits for answers."""
    times = [*_guards(state), *_leases(state)]
    weather, token = state.session.weather, state.session.token
    if token is not None:
        times.append(token.ends_at)
    if state.stopping:
        return min(times, default=NEVER)
    times += _apps(state)
    if weather is None:
        times += [*_session(state), *_asking(state), *_reading(state), *_reporting(state)]
    elif not is_asked_for(state):
        # Whatever is due waits for the weather's next try.
        times.append(weather.next_at if token is not None else max(weather.next_at, state.session.login_at))
    return min(times, default=NEVER)


def _guards(state: State) -> Iterator[float]:
    for call in state.calls.values():
        yield call.guard


def _apps(state: State) -> Iterator[float]:
    for app in state.apps.values():
        yield prune_at(app)
        yield prove_at(app)
        yield falls_back_at(state, app)
        yield keeps_at(state, app)
        if app.job is not None:
            continue
        if app.owed:
            yield app.notify_at
        # What is dirty waits for its inputs first, then for a time.
        if app.dirty and inputs(state, app.want.needs) is not None:
            yield max(app.publish_at, settles_at(state, app.want.needs))


def _session(state: State) -> Iterator[float]:
    session = state.session
    if is_asked_for(state):
        return
    yield session.login_at
    if session.token is not None:
        yield from (session.renew_at, session.check_at, session.idle_at)


def _leases(state: State) -> Iterator[float]:
    for held in state.leases.values():
        yield from (acts_at(state, held), goes_at(state, held))
        if held.ended_at is None:
            yield ends_at(state, held.lease)
    for former in state.session.former.values():
        yield token_goes_at(state, former)


def _asking(state: State) -> Iterator[float]:
    if state.session.token is None or not has_room(state):
        return
    for held in state.leases.values():
        yield asks_at(state, held)
    if may_issue(state):
        for supply in state.supplies.values():
            yield issues_at(state, supply)


def _reporting(state: State) -> Iterator[float]:
    if state.session.token is not None and has_room_to_report(state):
        yield from (reports_at(state, app, name) for name, app in state.apps.items())


def _reading(state: State) -> Iterator[float]:
    if state.session.token is None or under_way(state) >= IN_FLIGHT:
        return
    for mount in state.mounts.values():
        if not mount.version and mount.call is None:
            yield mount.next_at
    for folder, group in state.groups.items():
        if group.call is None and state.mounts[folder.mount].version:
            yield min(group.next_at, group.told_at)
    for ref, source in state.sources.items():
        if source.call is None and state.mounts[ref.mount].version:
            yield min(source.next_at, source.told_at)
