"""An app's way from changed inputs to a reader that has been told."""

from lessee.agent.machine.apps.fallback import cannot_serve, plan_fallback, serves, shown
from lessee.agent.machine.apps.inputs import inputs, settles_at
from lessee.agent.machine.apps.readiness import opened, plan_proof
from lessee.agent.machine.apps.version_reports import rotated
from lessee.agent.machine.protocol.commands import MarkNotified, Notify, Prune, Publish, Render, RunCheck
from lessee.agent.machine.protocol.events import (
    CheckFailed,
    CheckPassed,
    FallbackRendered,
    NotificationFailed,
    Notified,
    Published,
    PublishFailed,
    Rendered,
    RenderFailed,
    Withdrawn,
)
from lessee.agent.machine.state import KEEP_TOLD, KEEP_UNTOLD, NEVER, App, Fallback, Readiness
from lessee.agent.machine.transaction import Turn
from lessee.core.backoff import delay
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import replace

NOTIFY_CAP = 15.0
"""Seconds between tries to tell an app, at most; the look is local and cheap."""


def plan_apps(turn: Turn) -> None:
    """Render what has settled inputs, tell who is owed, prune what is old."""
    for name, app in turn.apps.items():
        if app.job is None and app.dirty and turn.now >= app.publish_at:
            _plan_render(turn, name, app)
        plan_fallback(turn, name)
        plan_proof(turn, name)
        app = turn.apps[name]  # noqa: PLW2901  # It may just have been given a job.
        if app.job is None and app.owed and turn.now >= app.notify_at:
            job = turn.next_id()
            turn.edit_apps()[name] = replace(app, job=job)
            turn.commands.append(Notify(name, job, app.published_at or 0.0))
        elif turn.now >= prune_at(app):
            gone = tuple(number for number, at in _prunable(app) if turn.now >= at)
            kept = tuple((number, replaced_at) for number, replaced_at in app.old if number not in gone)
            turn.edit_apps()[name] = replace(app, old=kept)
            turn.commands.append(Prune(name, gone))


def prune_at(app: App) -> float:
    """When the first of the app's old generations may go; NEVER where there is none."""
    return min((at for _, at in _prunable(app)), default=NEVER)


def _prunable(app: App) -> list[tuple[int, float]]:
    backup = app.proof.backup
    kept = backup.number if backup is not None else None
    return [(number, _kept_until(app, replaced_at)) for number, replaced_at in app.old if number != kept]


def _kept_until(app: App, replaced_at: float) -> float:
    # A reader may just have opened the old one; an app that cannot be told must not keep old secrets alive.
    longest = replaced_at + KEEP_UNTOLD
    return longest if app.owed else min(longest, max(replaced_at, app.told_at or 0.0) + KEEP_TOLD)


def _plan_render(turn: Turn, name: str, app: App) -> None:
    found = inputs(turn, app.want.needs)
    if found is None or turn.now < settles_at(turn, app.want.needs):
        return
    job = turn.next_id()
    turn.edit_apps()[name] = replace(
        app, job=job, dirty=False, using=found.leases, using_rotated=rotated(found, app.want.consumer)
    )
    turn.totals = replace(turn.totals, renders=turn.totals.renders + 1)
    turn.commands.append(Render(name, job, app.want.recipe, found.secrets, found.folders, found.dynamic))


def rendered(turn: Turn, event: Rendered) -> None:
    """Files are there; where they are what a reader sees already, nothing more is to do."""
    app = turn.apps.get(event.app)
    if app is None or app.job != event.job:
        return
    if app.generation == event.generation and app.fallback.shown is None:
        turn.edit_apps()[event.app] = replace(
            app, job=None, problem=None, rejected=False, shows=app.using, shows_rotated=app.using_rotated
        )
        return
    if app.proof.bad is not None and app.proof.bad == event.generation.fingerprint:
        turn.edit_apps()[event.app] = replace(app, job=None, problem=None, rejected=False)
        return
    _offer(turn, event.app, app, event.generation)


def fell_back(turn: Turn, event: FallbackRendered) -> None:
    """Files are there from the fallback; where Vault has said something meanwhile, nobody needs them."""
    app = turn.apps.get(event.app)
    if app is None or app.job != event.job:
        return
    if serves(turn, app):
        # What was kept may hold any lease that is held.
        held = replace(app, using=frozenset(turn.leases), using_rotated=None)
        _offer(turn, event.app, held, event.generation, event.source)
    else:
        turn.edit_apps()[event.app] = replace(app, job=None)


def _offer(turn: Turn, name: str, app: App, generation: Generation, source: FallbackKind | None = None) -> None:
    assert app.job is not None
    if app.want.checks:
        turn.commands.append(RunCheck(name, app.job, generation))
    else:
        _publish(turn, name, app, generation, source)
    problem = None if app.rejected else app.problem  # a disk that is full is told once
    fallback = replace(app.fallback, staged=source)
    turn.edit_apps()[name] = replace(app, staged=generation, problem=problem, rejected=False, fallback=fallback)


def _publish(turn: Turn, name: str, app: App, generation: Generation, source: FallbackKind | None) -> None:
    assert app.job is not None
    want = app.want
    turn.commands.append(Publish(name, app.job, generation, owe=want.notifies, prove=want.proves, fallback=source))


def checked(turn: Turn, event: CheckPassed) -> None:
    """Nothing speaks against the generation; but a fallback has no place any more where Vault has come back."""
    app = turn.apps.get(event.app)
    if app is None or app.job != event.job or app.staged is None:
        return
    source = app.fallback.staged
    if source is None or serves(turn, app):
        _publish(turn, event.app, app, app.staged, source)
    else:
        turn.edit_apps()[event.app] = replace(app, job=None, staged=None, fallback=replace(app.fallback, staged=None))


def refused(turn: Turn, event: RenderFailed | CheckFailed) -> None:
    """The old files stay until an input changes."""
    app = turn.apps.get(event.app)
    if app is None or app.job != event.job:
        return
    if app.fallback.staged is not None:
        cannot_serve(turn, event.app, app, event.text)
    else:
        _say_problem(turn, event.app, app, event.text)
        turn.edit_apps()[event.app] = replace(app, job=None, staged=None, problem=event.text, rejected=True)


def published(turn: Turn, event: Published) -> None:
    """A reader sees the new generation; the app is owed the news of it, whatever was decided meanwhile."""
    app = turn.apps.get(event.app)
    if app is None:
        return
    if event.changed:
        turn.tell("info", "published", app=event.app, generation=event.number)
        turn.totals = replace(turn.totals, publishes=turn.totals.publishes + 1)
        app = replace(
            app,
            published_at=turn.now,
            old=(*app.old, (app.number, turn.now)) if app.number is not None else app.old,
            proof=opened(turn, event.app, app),
            owed=app.want.notifies,
            notify_at=turn.now,
            notify_tries=0,
            notify_error=None,
        )
    elif app.proof.bad is not None:
        app = replace(app, proof=replace(app.proof, bad=None, error=None))
    app = replace(app, number=event.number, fallback=shown(turn, event.app, app, event.fallback))
    if app.job != event.job or app.staged is None:  # of a recipe that is no longer wanted
        turn.edit_apps()[event.app] = replace(app, generation=None, shows=None, shows_rotated=None)
        return
    staged = app.staged
    proof = replace(app.proof, fingerprint=staged.fingerprint) if app.want.proves else app.proof
    turn.edit_apps()[event.app] = replace(
        app,
        job=None,
        generation=staged,
        staged=None,
        environ=staged.environ,
        shows=app.using,
        shows_rotated=app.using_rotated,
        problem=None,
        tries=0,
        proof=proof,
    )


def publish_failed(turn: Turn, event: PublishFailed) -> None:
    """The disk may be full or read-only: the old files stay, and it is tried again."""
    app = turn.apps.get(event.app)
    if app is not None and app.job == event.job:
        _say_problem(turn, event.app, app, event.text)
        turn.edit_apps()[event.app] = replace(
            app,
            job=None,
            problem=event.text,
            dirty=True,
            fallback=replace(app.fallback, staged=None),
            tries=app.tries + 1,
            since=turn.began(app),
            publish_at=turn.retry_at(app),
        )


def withdrawn(turn: Turn, event: Withdrawn) -> None:
    """Its readers see nothing, and shall see the next generation whatever it holds."""
    app = turn.apps.get(event.app)
    if app is not None:
        turn.edit_apps()[event.app] = replace(
            app,
            dirty=True,
            generation=None,
            number=None,
            shows=frozenset(),
            shows_rotated=None,
            old=(),
            owed=False,
            proof=Readiness(),
            fallback=Fallback(next_at=NEVER),  # nobody wanted it removed to see another in its place
        )


def app_told(turn: Turn, event: Notified) -> None:
    """The debt is paid."""
    app = turn.apps.get(event.app)
    if app is None or app.job != event.job:
        return
    turn.tell("info", "notified", app=event.app, generation=app.number, how=event.how)
    turn.totals = replace(turn.totals, notifications=turn.totals.notifications + 1)
    turn.commands.append(MarkNotified(event.app))
    turn.edit_apps()[event.app] = replace(
        app, job=None, owed=False, notify_error=None, notify_tries=0, told_at=turn.now
    )


def not_told(turn: Turn, event: NotificationFailed) -> None:
    """The debt stays, and is tried again."""
    app = turn.apps.get(event.app)
    if app is None or app.job != event.job:
        return
    if app.notify_error != event.text:
        # Nobody there is as it should be before the app has started.
        turn.tell("info" if event.absent else "warning", "not notified", app=event.app, reason=event.text)
    wait = event.retry_in
    if wait is None:
        wait = delay(app.notify_tries, turn.draw(), cap=NOTIFY_CAP)
    turn.edit_apps()[event.app] = replace(
        app,
        job=None,
        notify_error=event.text,
        absent=event.absent,
        notify_tries=app.notify_tries + 1,
        notify_at=turn.now + wait,
    )


def _say_problem(turn: Turn, name: str, app: App, text: str) -> None:
    if app.problem != text:
        turn.tell("error", "not published", app=name, reason=text)
