"""Drift: what another program changes in an app's directory is restored, and reported.

touched, or refresh_interval over ──► look ──► restored, counted, and the app notified if what it read had changed
                                       │
                                       └─ again and again ──► reported, and restored seldom
"""

from lessee.agent.machine.apps.state import (
    App,
    Drift,
    Notifying,
    PendingNotification,
    ProbeDue,
    Probing,
    Publication,
    Readiness,
    Unverified,
)
from lessee.agent.machine.transaction import Transaction
from lessee.core.backoff import delay
from lessee.core.immutable import replace
from lessee.protocol.commands import CancelProbe, CheckFiles
from lessee.protocol.events import FilesChecked, FilesTouched

MAX_REPAIRS = 10
"""Repairs in quick succession after which another program is said to fight the agent."""
FIGHT_INTERVAL = 30.0
"""Seconds after which a repair does not count any more; and between two repairs while a program fights the agent."""
APP_INTERVAL, FILE_INTERVAL = 0.1, 0.05
"""Seconds between two looks at an app, for each app and for each of its files: looks take 0.2 % of a processor."""
OWN_EVENTS = 0.5
"""Seconds after a failed repair in which the events are the agent's own."""


def look(tx: Transaction, name: str) -> None:
    """Compare an app's directory with what was published, and restore what differs."""
    app = tx.apps[name]
    generation = app.publication.generation if app.publication is not None else None
    files = len(generation.files) if generation is not None else 0
    interval = max(app.spec.refresh_interval, APP_INTERVAL * len(tx.apps) + FILE_INTERVAL * files)
    _set_drift(tx, name, replace(app.drift, look_at=tx.now + interval, last_look_at=tx.now))
    tx.commands.append(CheckFiles(name, notify=app.spec.notifies))


def look_again(tx: Transaction, name: str) -> None:
    """A user requests it, who may have stopped what changed the files."""
    _set_drift(tx, name, replace(tx.apps[name].drift, look_at=tx.now, spent=0.0, is_fought=False, attempts=0))


def on_files(tx: Transaction, event: FilesTouched | FilesChecked) -> None:
    """Look at files that were touched, and take in what a look has found."""
    app = tx.apps.get(event.app)
    if app is None or app.publication is None:
        return
    match event:
        case FilesTouched():
            drift = app.drift
            is_own = tx.now - drift.last_look_at < OWN_EVENTS or drift.attempts >= MAX_REPAIRS
            if not drift.is_fought and not (drift.error is not None and is_own):
                _set_drift(tx, event.app, replace(drift, look_at=min(drift.look_at, tx.now)))
        case FilesChecked(error=str(error)):
            tx.apps[event.app] = _with_visible(tx, event, app, app.publication)
            _on_not_restored(tx, event, app.drift, error)
        case FilesChecked(found=()):
            _on_right(tx, event.app, app.drift)
        case _:
            _on_restored(tx, event, app, app.publication)


def _on_right(tx: Transaction, name: str, drift: Drift) -> None:
    # A program that alternates must not have each of its changes reported.
    attempts = drift.attempts if tx.now - (drift.found_at or tx.now) < FIGHT_INTERVAL else 0
    if drift.error is not None and attempts < MAX_REPAIRS:
        tx.log("info", "files right again", app=name)
    if (drift.error, drift.attempts) != (None, attempts):
        _set_drift(tx, name, replace(drift, error=None, is_fought=False, attempts=attempts))


def _on_not_restored(tx: Transaction, event: FilesChecked, drift: Drift, error: str) -> None:
    found = "; ".join(event.found)
    text = f"its files were changed ({found}) and are not restored: {error}" if found else error
    if drift.error != text and drift.attempts < MAX_REPAIRS:
        tx.log("error", "files not restored", app=event.app, found=found, reason=error)
        # The same finding counts once, however often its repair fails.
        is_new = bool(found) and (drift.error is None or drift.found != found)
        drift = replace(drift, total=drift.total + is_new, found=found, found_at=tx.now)
    lasted = tx.now - (drift.found_at or tx.now)
    retry_at = tx.now + delay(drift.attempts, tx.random(), duration=lasted, cap=FIGHT_INTERVAL)
    _set_drift(tx, event.app, replace(drift, error=text, attempts=drift.attempts + 1, look_at=retry_at))


def _on_restored(tx: Transaction, event: FilesChecked, app: App, publication: Publication) -> None:
    found = "; ".join(event.found)
    tx.log("warning", "files restored", app=event.app, generation=event.number, found=found)
    drift = _after_repair(tx, app.drift, found)
    if drift.is_fought and not app.drift.is_fought:
        tx.log("error", "files changed again and again", app=event.app, found=found, reason=drift.error)
    tx.apps[event.app] = replace(_with_visible(tx, event, app, publication), drift=drift)


def _with_visible(tx: Transaction, event: FilesChecked, app: App, publication: Publication) -> App:
    """The app whose readers see what the event says, and may have read something else before."""
    assert event.number is not None
    old = app.old_generations
    if event.number != publication.number:
        old = (*old, (publication.number, tx.now))
    publication = replace(publication, number=event.number)
    if event.changed:
        # What a notification under way reports, or a probe finds out, may come from the other program's files.
        job = None if isinstance(app.job, Notifying) else app.job
        pending = PendingNotification(tx.now) if app.spec.notifies else None
        readiness = _probed_again(tx, event.app, publication.readiness)
        publication = replace(publication, published_at=tx.now, notification=pending, readiness=readiness)
        app = replace(app, job=job)
    return replace(app, publication=publication, old_generations=old)


def _probed_again(tx: Transaction, name: str, readiness: Readiness) -> Readiness:
    match readiness:
        case Unverified(stage=Probing(job=job)):
            tx.commands.append(CancelProbe(name, job))
            return replace(readiness, stage=ProbeDue(tx.now))
        case _:
            return readiness


def _after_repair(tx: Transaction, drift: Drift, found: str) -> Drift:
    since = tx.now - drift.found_at if drift.found_at is not None else 0.0
    spent = max(0.0, drift.spent - since / FIGHT_INTERVAL) + 1
    drift = replace(
        drift, total=drift.total + 1, found=found, found_at=tx.now, spent=spent, attempts=0, error=None, is_fought=False
    )
    if spent <= MAX_REPAIRS - 1:
        return drift
    text = (
        f"another program changes its files again and again, the last time {found}; the agent restores them every"
        f" {FIGHT_INTERVAL:g} s: stop that program, then run `lessee refresh`"
    )
    return replace(drift, error=text, is_fought=True, look_at=tx.now + FIGHT_INTERVAL)


def _set_drift(tx: Transaction, name: str, drift: Drift) -> None:
    tx.apps[name] = replace(tx.apps[name], drift=drift)
