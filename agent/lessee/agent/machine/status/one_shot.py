"""How a command that runs once has ended, app by app."""

from collections.abc import Iterable, Mapping

from lessee.agent.machine.apps.inputs import inputs_of
from lessee.agent.machine.state import App, State
from lessee.agent.machine.transaction import Turn
from lessee.core.errors import (
    DeniedError,
    LesseeError,
    NotNotifiedError,
    TemplateError,
    VaultUnreachableError,
    WriteError,
)
from lessee.core.failures import Failure, Kind
from lessee.core.paths import DynamicSecret, Folder, Need

WAITED_FOR = frozenset({Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.PATH_ERROR})
"""Failures that go by; any other is Vault's word that it will not be."""


def outcomes(states: Iterable[State]) -> Mapping[str, LesseeError | None] | None:
    """None while something may still come; else of each app why it was not published, or None where it was."""
    ended: dict[str, LesseeError | None] = {}
    for state in states:
        for name, app in state.apps.items():
            error = _error(state, name, app)
            if error is None and not _done(app):
                return None
            ended[name] = error
    return ended


def unfinished(states: Iterable[State]) -> Mapping[str, LesseeError | None]:
    """As `outcomes`, when there is no more time: what has not ended has not been reached."""
    ended: dict[str, LesseeError | None] = {}
    for state in states:
        weather = state.session.weather
        for name, app in state.apps.items():
            ended[name] = _error(state, name, app)
            if ended[name] is None and not _done(app):
                why = weather.text if weather is not None else _lines(failures(state, app))
                why = why or "it has not answered all requests"
                why += f"; nor can its fallback: {app.fallback.error}" if app.fallback.error is not None else ""
                ended[name] = VaultUnreachableError(f"Vault did not serve it in time: {why}", where=name)
    return ended


def grant(need: Need | None = None) -> str:
    """What to do about a path that is denied."""
    capability = "update" if isinstance(need, DynamicSecret) and need.method == "POST" else "read"
    return f"grant `{capability}` in the token's policy"


def _done(app: App) -> bool:
    published = app.generation is not None and app.job is None and (not app.dirty or app.fallback.shown is not None)
    return published and (not app.owed or app.absent)


def _error(state: State, name: str, app: App) -> LesseeError | None:
    if app.rejected:
        return TemplateError(app.problem or "", where=name)
    if app.problem is not None:
        return WriteError(app.problem, where=name)
    if app.notify_error is not None and not app.absent:
        return NotNotifiedError(app.notify_error, where=name)
    if app.generation is not None and not app.dirty:
        return None
    failure = state.session.failure
    if failure is not None and failure.kind not in WAITED_FOR:
        return DeniedError(f"login failed: {failure.text}", where=name)
    return _input_error(state, name, app)


def _input_error(state: State, name: str, app: App) -> LesseeError | None:
    ended = {path: why for path, why in failures(state, app).items() if why.kind not in WAITED_FOR}
    if not ended:
        return None
    text = _lines(ended)
    denied = {path for path, why in ended.items() if why.kind is Kind.DENIED}
    if denied:
        todo = sorted({grant(need) for need in app.want.needs if str(need) in denied}) or [grant()]
        return DeniedError(text, where=name, todo=", ".join(todo))
    return TemplateError(text, where=name, todo="write the secret, or mend the path in the template")


def failures(state: State | Turn, app: App) -> Mapping[str, Failure]:
    """What keeps an app's inputs from being here, by path."""
    kept = (state.mounts, state.groups, state.sources, state.supplies)
    if all(item.failure is None for items in kept for item in items.values()):
        return {}  # asked after each event while a thousand secrets come in
    found: dict[str, Failure | None] = {}
    for need in app.want.needs:
        if isinstance(need, DynamicSecret):
            found[str(need)] = state.supplies[need].failure
            continue
        if isinstance(need, Folder):
            found[str(need)] = state.groups[need].failure
        found[f"{need.mount}/"] = state.mounts[need.mount].failure
    for ref in inputs_of(state, app.want.needs):
        failure = state.sources[ref].failure
        # A folder goes on without a secret that is gone.
        if failure is not None and (failure.kind is not Kind.NOT_FOUND or ref in app.want.needs):
            found[str(ref)] = failure
    return {path: failure for path, failure in found.items() if failure is not None}


def _lines(failures: Mapping[str, Failure]) -> str:
    return "\n".join(f"{path}: {failure.text}" for path, failure in sorted(failures.items()))
