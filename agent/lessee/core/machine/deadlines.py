"""When the machine has something to do though nothing happens."""

from collections.abc import Iterator

from lessee.core.machine.apps import prune_at
from lessee.core.machine.commands import CheckToken, Login, RenewToken
from lessee.core.machine.inputs import inputs
from lessee.core.machine.reading import IN_FLIGHT
from lessee.core.machine.state import NEVER, State


def wake_at(state: State) -> float:
    """The moment on the boot clock for which `step` plans something; NEVER where it only waits for answers."""
    times = [*_guards(state), *_apps(state)]
    weather = state.session.weather
    if weather is None:
        times += [*_session(state), *_reading(state)]
    elif not state.calls:
        # Whatever is due waits for the weather's next try.
        times.append(max(min((*_session(state), *_reading(state)), default=NEVER), weather.next_at))
    return min(times, default=NEVER)


def _guards(state: State) -> Iterator[float]:
    for call in state.calls.values():
        yield call.guard


def _apps(state: State) -> Iterator[float]:
    for app in state.apps.values():
        yield prune_at(app)
        if app.job is not None:
            continue
        if app.owed:
            yield app.notify_at
        # Without failed tries, what is dirty waits for its inputs, not for a time.
        if app.dirty and app.tries and inputs(state, app.want.needs) is not None:
            yield app.publish_at


def _session(state: State) -> Iterator[float]:
    session = state.session
    if any(isinstance(call.command, Login | RenewToken | CheckToken) for call in state.calls.values()):
        return
    yield session.login_at
    if session.token is not None:
        yield from (session.token.ends_at, session.renew_at, session.check_at)


def _reading(state: State) -> Iterator[float]:
    if state.session.token is None or len(state.calls) >= IN_FLIGHT:
        return
    for mount in state.mounts.values():
        if not mount.version and mount.call is None:
            yield mount.next_at
    for folder, group in state.groups.items():
        if group.call is None and state.mounts[folder.mount].version:
            yield group.next_at
    for ref, source in state.sources.items():
        if source.call is None and state.mounts[ref.mount].version:
            yield source.next_at
