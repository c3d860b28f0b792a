"""Readiness: after the notification a probe checks whether the app works, and a rollback follows if it does not.

notified ──► probe ──► ready: the previous generation may be deleted
               │
               └─ not ready ──► rollback, notified again ──► ready: the failed generation waits for other secrets
                                                    │
                 the newest is published again, because it was not the cause ◄── not ready either
"""

from lessee.agent.machine.apps.notification import new_notification
from lessee.agent.machine.apps.state import (
    App,
    Contents,
    FailedGeneration,
    PreviousGeneration,
    ProbeDue,
    Probing,
    Publication,
    Readiness,
    Ready,
    Rejected,
    RollingBack,
    Unverified,
)
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.backoff import delay
from lessee.core.immutable import replace
from lessee.protocol.commands import AllowRetry, CancelProbe, MarkReady, Probe, Publish, RollBack
from lessee.protocol.events import ReadinessFailed, ReadinessPassed, RollbackFailed, RolledBack

MAX_PROBE_DELAY = 15.0
"""The maximum number of seconds between two probes of an app that is not ready."""


def probe_due_at(app: App) -> float:
    """When to probe an app; NEVER before it is notified, and once it is ready."""
    unverified = app.unverified
    if unverified is None or app.notification is not None or not isinstance(unverified.stage, ProbeDue):
        return NEVER
    return unverified.stage.next_at


def probe(tx: Transaction, name: str) -> None:
    """Probe whether an app works with its published generation."""
    app = tx.apps[name]
    unverified = app.unverified
    assert app.publication is not None
    assert unverified is not None
    job = tx.new_id()
    _set_readiness(tx, name, replace(unverified, stage=Probing(job)))
    tx.commands.append(Probe(name, job, app.publication.published_at, app.readers_changed_at))


def plan_retry_of_rolled_back(tx: Transaction, name: str) -> None:
    """Try the failed generation again once the secrets in the restored one have expired."""
    app = tx.apps[name]
    publication = app.publication
    if publication is None or publication.rolled_back is None or not _has_ended(tx, app, publication.contents):
        return
    reason = "secrets in the published generation have expired"
    tx.log("warning", "rolled-back generation retried", app=name, reason=reason)
    allow_retry(tx, name)


def new_readiness(tx: Transaction, name: str, app: App) -> Readiness:
    """The readiness of a generation that replaces the one in `app`."""
    match app.unverified:
        case Unverified(stage=Probing(job=job)):
            tx.commands.append(CancelProbe(name, job))
        case _:
            pass
    if not app.spec.probes:
        return Ready()
    return Unverified(ProbeDue(tx.now), previous=_rollback_target(app))


def _rollback_target(app: App) -> PreviousGeneration | None:
    before = app.publication
    if before is None or app.previous is not None:
        return app.previous
    # A rollback needs a generation that is known to work, which a rolled-back one's predecessor is.
    is_known_to_work = isinstance(before.readiness, Ready) or before.rolled_back is not None
    # After a restart, the environment of the child's previous generation is unknown.
    is_complete = not app.spec.sets_environment or before.environ is not None
    if not is_known_to_work or not is_complete or before.fallback is not None:
        return None
    return PreviousGeneration(before.number, before.contents, before.environ)


def on_readiness_passed(tx: Transaction, event: ReadinessPassed) -> None:
    """The app works with its files."""
    if (app := _probed_app(tx, event)) is not None:
        assert app.publication is not None
        tx.log("info", "app ready", app=event.app, generation=app.publication.number)
        tx.counters = replace(tx.counters, readiness_passed=tx.counters.readiness_passed + 1)
        tx.commands.append(MarkReady(event.app))
        _set_readiness(tx, event.app, Ready())


def on_readiness_failed(tx: Transaction, event: ReadinessFailed) -> None:
    """Roll back if there is a previous generation whose leases are still valid, else probe again."""
    app = _probed_app(tx, event)
    if app is None:
        return
    publication, unverified = app.publication, app.unverified
    assert publication is not None
    assert unverified is not None
    previous = unverified.previous
    if unverified.error != event.text or previous is not None:
        tx.log("error", "app not ready", app=event.app, generation=publication.number, reason=event.text)
    if previous is not None and _has_ended(tx, app, previous.contents):
        reason = "secrets in the previous generation have expired"
        tx.log("error", "app not rolled back", app=event.app, reason=reason)
        previous = None
    unverified = replace(unverified, previous=previous)
    is_being_replaced = any(isinstance(command, Publish) and command.app == event.app for command in tx.commands)
    fingerprint = unverified.fingerprint
    if previous is not None and fingerprint is not None and not is_being_replaced:
        notify = app.spec.notifies
        tx.commands.append(RollBack(event.app, previous.number, fingerprint, notify=notify, environ=previous.environ))
        stage = RollingBack(previous, FailedGeneration(fingerprint, event.text))
        _set_readiness(tx, event.app, replace(unverified, stage=stage, error=event.text))
        return
    _probe_later(tx, event.app, replace(unverified, error=event.text))
    if publication.rolled_back is not None:
        note = "the newest generation is published again, because it was not the cause"
        tx.log("warning", "previous generation not ready", app=event.app, note=note)
        allow_retry(tx, event.app)


def on_rolled_back(tx: Transaction, event: RolledBack) -> None:
    """Readers see the previous generation: notify the app, and probe again."""
    app = tx.apps.get(event.app)
    match app.publication if app is not None else None:
        case Publication(readiness=Unverified(stage=RollingBack(to=to, failed=failed))) as replaced:
            pass
        case _:
            return
    assert app is not None
    tx.log("error", "app rolled back", app=event.app, generation=to.number, reason=failed.error)
    tx.counters = replace(tx.counters, rollbacks=tx.counters.rollbacks + 1)
    old = [(number, at) for number, at in app.old_generations if number != to.number]
    publication = Publication(
        to.number,
        published_at=tx.now,
        contents=to.contents,
        environ=to.environ,
        notification=new_notification(tx, app),
        readiness=Unverified(ProbeDue(tx.now), error=failed.error),
        rolled_back=failed,
    )
    tx.apps[event.app] = replace(app, publication=publication, old_generations=(*old, (replaced.number, tx.now)))


def on_rollback_failed(tx: Transaction, event: RollbackFailed) -> None:
    """Readers see the same files as before: probe again later."""
    app = tx.apps.get(event.app)
    match app.unverified if app is not None else None:
        case Unverified(stage=RollingBack()) as unverified:
            tx.log("error", "app not rolled back", app=event.app, reason=event.text)
            _probe_later(tx, event.app, unverified)
        case _:
            pass


def allow_retry(tx: Transaction, name: str) -> None:
    """A generation that was rolled back or rejected may be tried again."""
    app = tx.apps[name]
    if app.publication is not None and app.publication.rolled_back is not None:
        tx.commands.append(AllowRetry(name))
        tx.apps[name] = replace(app, dirty=True, publication=replace(app.publication, rolled_back=None))
    elif isinstance(app.problem, Rejected):
        tx.apps[name] = replace(app, dirty=True)


def stop_probing(tx: Transaction, name: str) -> None:
    """Treat the published generation as ready, because its readiness is not checked any more."""
    tx.commands.append(MarkReady(name))
    _set_readiness(tx, name, Ready())


def _probed_app(tx: Transaction, event: ReadinessPassed | ReadinessFailed) -> App | None:
    app = tx.apps.get(event.app)
    match app.unverified if app is not None else None:
        case Unverified(stage=Probing(job=event.job)):
            return app
        case _:
            return None


def _has_ended(tx: Transaction, app: App, contents: Contents) -> bool:
    """Whether a lease in a generation has ended; not if its leases are unknown."""
    supplied = frozenset[str]().union(*(supply.live for supply in app.supplies.values()))
    leases = [tx.leases.get(id_) for id_ in contents.leases or () if id_ not in supplied]
    return any(held is None or held.ended_at is not None for held in leases)


def _probe_later(tx: Transaction, name: str, unverified: Unverified) -> None:
    wait = delay(unverified.attempts, tx.random(), cap=MAX_PROBE_DELAY)
    stage = ProbeDue(tx.now + wait)
    _set_readiness(tx, name, replace(unverified, stage=stage, attempts=unverified.attempts + 1))


def _set_readiness(tx: Transaction, name: str, readiness: Readiness) -> None:
    app = tx.apps[name]
    assert app.publication is not None
    tx.apps[name] = replace(app, publication=replace(app.publication, readiness=readiness))
