"""Publication: readers see a new generation, and the ones before it are deleted later."""

from lessee.agent.machine.apps.fallback import log_fallback_change
from lessee.agent.machine.apps.jobs import job_of
from lessee.agent.machine.apps.notification import new_notification
from lessee.agent.machine.apps.readiness import new_readiness
from lessee.agent.machine.apps.state import (
    NOTIFIED_GRACE,
    UNNOTIFIED_GRACE,
    App,
    Checking,
    Contents,
    FallbackState,
    Publication,
    Publishing,
    SnapshotState,
    Staged,
    Unverified,
    WriteFailed,
    to_be_watched,
)
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.immutable import replace
from lessee.protocol.commands import Prune, Publish
from lessee.protocol.events import Published, PublishFailed, Withdrawn


def publish(tx: Transaction, name: str, job: int, staged: Staged) -> None:
    """Publish a generation that was rendered and checked."""
    app = tx.apps[name]
    spec = app.spec
    tx.apps[name] = replace(app, job=Publishing(job, staged))
    tx.commands.append(
        Publish(name, job, staged.generation, notify=spec.notifies, probe=spec.probes, fallback=staged.fallback)
    )


def on_published(tx: Transaction, event: Published) -> None:
    """Readers see the new generation: notify the app, whatever was configured meanwhile."""
    app = tx.apps.get(event.app)
    if app is None:
        return
    publication = _publication(tx, event, app)
    log_fallback_change(tx, event.app, app, event.fallback)
    replaced = app.publication if event.changed else None
    app = replace(
        app,
        old_generations=app.old_generations + (((replaced.number, tx.now),) if replaced is not None else ()),
        fallback=FallbackState(),
        snapshot=SnapshotState(error=app.snapshot.error),
        drift=to_be_watched(app, tx.now, among=len(tx.apps)),
    )
    match app.job:
        case Publishing(id=event.job, staged=staged):
            publication = _with_staged(publication, staged)
            tx.apps[event.app] = replace(app, job=None, problem=None, publication=publication)
        case _:  # It was rendered from templates that are not configured any more.
            tx.apps[event.app] = replace(app, publication=publication)


def _publication(tx: Transaction, event: Published, app: App) -> Publication:
    """The publication, as far as it is known without what was staged."""
    before = app.publication
    if before is None or event.changed:
        tx.log("info", "generation published", app=event.app, generation=event.number)
        tx.counters = replace(tx.counters, publications=tx.counters.publications + 1)
        return Publication(
            event.number,
            published_at=tx.now,
            fallback=event.fallback,
            notification=new_notification(tx, app),
            readiness=new_readiness(tx, event.app, app),
        )
    readiness = before.readiness
    if before.rolled_back is not None and isinstance(readiness, Unverified):
        readiness = replace(readiness, error=None)  # It is why the other generation failed.
    return replace(
        before,
        contents=Contents(),
        generation=None,
        fallback=event.fallback,
        readiness=readiness,
        rolled_back=None,
    )


def _with_staged(publication: Publication, staged: Staged) -> Publication:
    readiness = publication.readiness
    if isinstance(readiness, Unverified):
        readiness = replace(readiness, fingerprint=staged.generation.fingerprint)
    return replace(
        publication,
        contents=staged.contents,
        generation=staged.generation,
        environ=staged.generation.environ,
        readiness=readiness,
    )


def on_publish_failed(tx: Transaction, event: PublishFailed) -> None:
    """The disk may be full or read-only: the published files remain, and the agent tries again."""
    match job_of(tx, event):
        case app, Checking() | Publishing():
            before = app.problem if isinstance(app.problem, WriteFailed) else WriteFailed("", 0.0)
            problem = WriteFailed(
                event.text, tx.retry_at(before), attempts=before.attempts + 1, since=tx.failing_since(before)
            )
            log_problem(tx, event.app, event.text)
            tx.apps[event.app] = replace(app, job=None, problem=problem, dirty=True)
        case _:
            pass


def log_problem(tx: Transaction, name: str, text: str) -> None:
    """Log why a generation is not published, unless the last line said the same."""
    problem = tx.apps[name].problem
    if problem is None or problem.text != text:
        tx.log("error", "generation not published", app=name, reason=text)


def on_withdrawn(tx: Transaction, event: Withdrawn) -> None:
    """Readers see no files, and will see the next generation whatever it contains."""
    app = tx.apps.get(event.app)
    if app is not None:
        tx.apps[event.app] = replace(
            app,
            dirty=True,
            publication=None,
            old_generations=(),
            fallback=FallbackState(next_at=NEVER),  # The files were removed on purpose.
            snapshot=SnapshotState(),
        )


def prune_due_at(app: App) -> float:
    """When the first of an app's old generations can be deleted."""
    return min((at for _, at in _prunable(app)), default=NEVER)


def prune(tx: Transaction, name: str) -> None:
    """Delete the old generations that no reader uses any more."""
    app = tx.apps[name]
    numbers = tuple(number for number, at in _prunable(app) if tx.now >= at)
    remaining = tuple((number, replaced_at) for number, replaced_at in app.old_generations if number not in numbers)
    tx.apps[name] = replace(app, old_generations=remaining)
    tx.commands.append(Prune(name, numbers))


def _prunable(app: App) -> list[tuple[int, float]]:
    if not app.old_generations:
        return []
    previous = app.previous.number if app.previous is not None else None
    return [(number, _pruned_at(app, replaced_at)) for number, replaced_at in app.old_generations if number != previous]


def _pruned_at(app: App, replaced_at: float) -> float:
    # A reader may have just opened the old files. An app that cannot be notified must not keep old secrets alive.
    latest = replaced_at + UNNOTIFIED_GRACE
    if app.notification is not None:
        return latest
    return min(latest, max(replaced_at, app.notified_at or 0.0) + NOTIFIED_GRACE)
