"""A cold start without Vault: an app that opted in gets its files from a fallback, until Vault gives the real ones.

nothing to read, Vault away for GRACE ──► fallback ──► check ──► publish, degraded ──► Vault is back: replaced
                       │                     └─ it cannot serve: told, tried again, and Vault is waited for
                       └─ Vault had refused something, or a secret was missing: never
"""

from lessee.agent.machine.apps.inputs import inputs
from lessee.agent.machine.protocol.commands import RenderFallback, SaveSnapshot
from lessee.agent.machine.protocol.events import FallbackFailed, SnapshotSaved
from lessee.agent.machine.state import NEVER, App, Fallback, State
from lessee.agent.machine.status.one_shot import WAITED_FOR, failures
from lessee.agent.machine.transaction import Turn
from lessee.core.generation import FallbackKind
from lessee.core.immutable import replace

GRACE = 2.0
"""Seconds after which Vault has to be found away still: its restart, or a network that comes up late, is no outage.
With the times between probes that is two to seven seconds after the first failure."""
KEEP_EVERY = 900.0
"""Seconds after which the good is kept anew though it stayed the same: so its age says when it was last known good."""
KEEP_AGAIN = 60.0
"""As above, where it could not be written."""


def plan_fallback(turn: Turn, name: str) -> None:
    """Fall back where it is time to; keep the good for another time."""
    app = turn.apps[name]
    if app.want.falls_back and not app.fallback.barred and _is_cold(app) and _is_refused(turn, app):
        # Noted, for once Vault is away the failure of a path is another.
        app = turn.edit_apps()[name] = replace(app, fallback=replace(app.fallback, barred=True))
    if turn.now >= falls_back_at(turn, app):
        job = turn.next_id()
        turn.edit_apps()[name] = replace(app, job=job)
        turn.commands.append(RenderFallback(name, job, app.want.recipe))
    elif turn.now >= app.fallback.keep_at and turn.now >= keeps_at(turn, app):
        _keep(turn, name, app)


def falls_back_at(known: State | Turn, app: App) -> float:
    """When an app is to get its files from its fallback; NEVER where it has files, or something speaks against it."""
    if not app.want.falls_back or app.job is not None or app.rejected or not _is_cold(app):
        return NEVER
    return max(app.fallback.next_at, app.publish_at) if serves(known, app) else NEVER


def serves(known: State | Turn, app: App) -> bool:
    """Whether a fallback has its place: Vault is known to be away, and has not said no."""
    weather = known.session.weather
    if weather is None or weather.seen_at < weather.since + GRACE or app.fallback.barred:
        return False
    return inputs(known, app.want.needs) is None


def _is_refused(known: State | Turn, app: App) -> bool:
    found = [known.session.failure, *failures(known, app).values()]
    return any(failure is not None and failure.kind not in WAITED_FOR for failure in found)


def _is_cold(app: App) -> bool:
    # What an earlier life fell back to is looked at again: it may do better now, and a child needs its environment.
    return app.number is None or (app.fallback.shown is not None and app.generation is None)


def keeps_at(known: State | Turn, app: App) -> float:
    """When what the files were made from is to be kept: only while Vault says that it is still so."""
    if not app.want.keeps or app.generation is None or app.dirty or app.job is not None:
        return NEVER
    if app.fallback.shown is not None or app.proof.open or app.proof.bad is not None:
        return NEVER
    session = known.session
    if session.weather is not None or session.token is None or inputs(known, app.want.needs) is None:
        return NEVER
    return app.fallback.keep_at


def _keep(turn: Turn, name: str, app: App) -> None:
    found = inputs(turn, app.want.needs)
    assert found is not None
    leases = [turn.leases[id_].lease for id_ in found.leases]
    ends = {lease.need: lease.ends_at for lease in leases if lease.ends_at != NEVER}
    turn.edit_apps()[name] = replace(app, fallback=replace(app.fallback, keep_at=turn.now + KEEP_EVERY))
    turn.commands.append(SaveSnapshot(name, found.secrets, found.folders, found.dynamic, ends))


def good_kept(turn: Turn, event: SnapshotSaved) -> None:
    """It is told once when it cannot be, and tried again."""
    app = turn.apps.get(event.app)
    if app is None:
        return
    fallback = app.fallback
    if event.error is not None:
        if fallback.keep_error != event.error:
            turn.tell("error", "the good is not kept", app=event.app, reason=event.error)
        fallback = replace(fallback, keep_at=turn.now + KEEP_AGAIN)
    turn.edit_apps()[event.app] = replace(app, fallback=replace(fallback, keep_error=event.error))


def no_fallback(turn: Turn, event: FallbackFailed) -> None:
    """It is told, and tried again: a file may come, and Vault is waited for anyway."""
    app = turn.apps.get(event.app)
    if app is not None and app.job == event.job:
        cannot_serve(turn, event.app, app, event.text)


def cannot_serve(turn: Turn, name: str, app: App, text: str) -> None:
    """Its fallback was found wanting."""
    fallback = app.fallback
    if fallback.error != text:
        turn.tell("error", "no fallback", app=name, reason=text, note="vault is waited for")
    fallback = replace(
        fallback,
        staged=None,
        error=text,
        tries=fallback.tries + 1,
        since=turn.began(fallback),
        next_at=turn.retry_at(fallback),
    )
    turn.edit_apps()[name] = replace(app, job=None, staged=None, fallback=fallback)


def shown(turn: Turn, name: str, app: App, source: FallbackKind | None) -> Fallback:
    """Readers see something else now: from a fallback, or the real thing."""
    before = app.fallback.shown
    if source is not None and before != source:
        turn.tell(
            "warning", "degraded", app=name, source=source, note="vault is away; its files are replaced when it is back"
        )
    elif source is None and before is not None:
        turn.tell("info", "no longer degraded", app=name)
    return Fallback(shown=source, keep_error=app.fallback.keep_error)


def anew(app: App, *, as_before: bool) -> App:
    """Another recipe may make another fallback: it is tried at once, also in the place of what was fallen back to.

    `as_before`: it reads the same secrets, so that what Vault said of them holds.
    """
    generation = None if app.fallback.shown is not None else app.generation
    fallback = Fallback(shown=app.fallback.shown, barred=as_before and app.fallback.barred)
    return replace(app, generation=generation, fallback=fallback)
