"""How a command that runs once has ended, for each app."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest

from lessee.agent.machine.apps.inputs import TEMPORARY, has_input_failures, input_failures
from lessee.agent.machine.apps.state import App, Rejected, WriteFailed, has_problem, is_done
from lessee.agent.machine.state import State
from lessee.core.errors import (
    DeniedError,
    LesseeError,
    NotNotifiedError,
    TemplateError,
    VaultUnreachableError,
    WriteError,
)
from lessee.core.failures import Failure, Kind
from lessee.protocol.app_spec import app_of


def results(states: Iterable[State]) -> Mapping[str, LesseeError | None] | None:
    """For each app why it was not published, or None if it was. No mapping while a result may still change."""
    ended: dict[str, LesseeError | None] = {}
    supplied: dict[str, LesseeError] = {}
    pending: set[str] = set()
    states = list(states)
    is_failing = any(map(_may_have_errors, states))
    for state in states:
        if state.apps.count(is_done) < len(state.apps) and not is_failing:
            return None
        for name, app in state.apps.items():
            error = _error(state, name, app)
            if app.spec.supplies is not None:
                supplied.update({app_of(name): error} if error is not None else {})
            elif error is None and not is_done(app):
                pending.add(name)
            else:
                ended[name] = error
    if not pending <= supplied.keys():
        return None
    return {**ended, **{name: supplied[name] for name in pending}}


def results_at_timeout(states: Iterable[State]) -> Mapping[str, LesseeError | None]:
    """The same when the time is over: what is not done is an error."""
    ended: dict[str, LesseeError | None] = {}
    supplied: dict[str, str] = {}
    """Why something is not supplied."""
    states = list(states)
    for state in states:
        for name, app in state.apps.items():
            if app.spec.supplies is not None and (supply := app.supply) is not None:
                lines = [f"{need}: {failure.text}" for need, failure in supply.missing.items()]
                if state.source and state.session.outage is not None:
                    lines.append(f"source {state.source}: {state.session.outage.text}")
                supplied[app_of(name)] = "\n".join(sorted(lines))
    for state in states:
        outage = state.session.outage
        for name, app in state.apps.items():
            if app.spec.supplies is not None:
                continue
            ended[name] = _error(state, name, app)
            if ended[name] is None and not is_done(app):
                reason = outage.text if outage is not None else _lines(input_failures(state, app))
                reason = reason or supplied.get(name) or "some requests are still pending"
                what, todo = "Vault did not provide its secrets in time", ""
                if state.source:
                    what, reason = "its secrets were not read in time", f"source {state.source}: {reason}"
                    todo = "correct the source in the configuration, or wait for it"
                if app.fallback.error is not None:
                    reason += f"; its fallback failed as well: {app.fallback.error}"
                ended[name] = VaultUnreachableError(f"{what}: {reason}", where=name, todo=todo)
    return ended


def _may_have_errors(state: State) -> bool:
    """Whether an app that is not done may have failed: without such a sign, a thousand apps need no look at each."""
    return bool(state.apps.count(has_problem)) or state.session.failure is not None or has_input_failures(state)


def _error(state: State, name: str, app: App) -> LesseeError | None:
    if app.spec.supplies is not None:
        return _supply_error(state, app_of(name), app)
    match app.problem:
        case Rejected(text=text):
            return TemplateError(text, where=name)
        case WriteFailed(text=text):
            return WriteError(text, where=name)
        case _:
            pass
    pending = app.notification
    if pending is not None and pending.error is not None and not pending.absent:
        return NotNotifiedError(pending.error, where=name)
    if app.publication is not None and app.publication.generation is not None and not app.dirty:
        return None
    failure = state.session.failure
    if failure is not None and failure.kind not in TEMPORARY:
        what = f"source {state.source} cannot be opened" if state.source else "login failed"
        return DeniedError(f"{what}: {failure.text}", where=name)
    return _input_error(state, name, app)


def _supply_error(state: State, name: str, app: App) -> LesseeError | None:
    """Why a machine cannot supply what the app needs."""
    failure = state.session.failure
    if app.supply is None or not app.spec.needs - app.spec.optional:
        return None
    if failure is not None and failure.kind not in TEMPORARY:
        what = "source {} cannot be opened" if state.source else "login as {} failed"
        return DeniedError(f"{what.format(app.spec.supplies)}: {failure.text}", where=name)
    return _input_error(state, name, app)


def _input_error(state: State, name: str, app: App) -> LesseeError | None:
    optional = {str(need) for need in app.spec.optional}
    failures = {path: why for path, why in input_failures(state, app).items() if path not in optional}
    definite = {path: why for path, why in failures.items() if why.kind not in TEMPORARY}
    if not definite:
        return None
    text = _lines(definite)
    denied = {path for path, why in definite.items() if why.kind is Kind.DENIED}
    if denied:
        from lessee.agent.machine.status.denials import (  # noqa: PLC0415  # A policy that suffices denies nothing.
            MAX_SUGGESTIONS,
            policy_remedy,
            similar_path,
        )

        needs = sorted((need for need in app.spec.needs if str(need) in denied), key=str)
        meant = (similar_path(state, need) for need in needs[:MAX_SUGGESTIONS])
        todo = sorted({policy_remedy(*each) for each in zip_longest(needs, meant)}) or [policy_remedy()]
        return DeniedError(text, where=name, todo=", ".join(todo))
    if state.source and all(why.kind is not Kind.NOT_FOUND for why in definite.values()):
        return TemplateError(text, where=name)  # Each reason says what to do.
    return TemplateError(text, where=name, todo="write the secret, or correct the path in the template")


def _lines(failures: Mapping[str, Failure]) -> str:
    return "\n".join(f"{path}: {failure.text}" for path, failure in sorted(failures.items()))
