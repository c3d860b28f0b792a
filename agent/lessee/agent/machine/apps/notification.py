"""Notification: the app learns that its files have changed, and the agent tries until it succeeds."""

from lessee.agent.machine.apps.jobs import job_of
from lessee.agent.machine.apps.state import App, Notifying, PendingNotification
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.backoff import delay
from lessee.core.immutable import replace
from lessee.protocol.commands import MarkNotified, Notify
from lessee.protocol.events import AppEnded, AppReturned, NotificationFailed, Notified

MAX_RETRY_DELAY = 15.0
"""The maximum number of seconds between two attempts, which are local and cheap."""

ENDED_REMEDY = (
    "start it again, by a supervisor that restarts it when it ends: systemd, `restart:` of Compose, or `lessee exec`"
)


def new_notification(tx: Transaction, app: App) -> PendingNotification | None:
    """The notification that a new publication needs."""
    return PendingNotification(tx.now) if app.spec.notifies else None


def notification_due_at(app: App) -> float:
    """When to notify an app; NEVER while another job is under way."""
    pending = app.notification
    return pending.next_at if pending is not None and app.job is None else NEVER


def notify(tx: Transaction, name: str) -> None:
    """Notify an app of its published generation."""
    app = tx.apps[name]
    assert app.publication is not None
    job = Notifying(tx.new_id())
    tx.apps[name] = replace(app, job=job)
    tx.commands.append(Notify(name, job.id, app.publication.published_at))


def on_notified(tx: Transaction, event: Notified) -> None:
    """The app was notified."""
    match job_of(tx, event):
        case app, Notifying():
            number = app.publication.number if app.publication is not None else None
            tx.log("info", "app notified", app=event.app, generation=number, how=event.how)
            tx.counters = replace(tx.counters, notifications=tx.counters.notifications + 1)
            tx.commands.append(MarkNotified(event.app))
            tx.apps[event.app] = replace(_with_notification(app, None), job=None, notified_at=tx.now, ended_at=None)
        case _:
            pass


def on_notification_failed(tx: Transaction, event: NotificationFailed) -> None:
    """The notification remains pending, and the agent tries again."""
    match job_of(tx, event):
        case app, Notifying():
            pass
        case _:
            return
    pending = app.notification
    if pending is None:  # Its files were removed meanwhile.
        tx.apps[event.app] = replace(app, job=None)
        return
    if pending.error != event.text:
        # That the process does not run is normal before the app has started.
        tx.log("info" if event.absent else "warning", "app not notified", app=event.app, reason=event.text)
    wait = event.retry_in
    if wait is None:
        wait = delay(pending.attempts, tx.random(), cap=MAX_RETRY_DELAY)
    pending = PendingNotification(tx.now + wait, pending.attempts + 1, event.text, event.absent)
    tx.apps[event.app] = replace(_with_notification(app, pending), job=None)


def on_presence(tx: Transaction, event: AppEnded | AppReturned) -> None:
    """The app's process has ended and is not back, or is back."""
    app = tx.apps.get(event.app)
    has_ended = isinstance(event, AppEnded)
    if app is None or has_ended == (app.ended_at is not None):
        return
    if has_ended:
        note = "its process ended after the notification, and nothing has started it again"
        tx.log("warning", "app ended", app=event.app, note=note, todo=ENDED_REMEDY)
    else:
        tx.log("info", "app returned", app=event.app)
    tx.apps[event.app] = replace(app, ended_at=tx.now if has_ended else None)


def retry_notification(tx: Transaction, name: str) -> None:
    """Try a pending notification now."""
    app = tx.apps[name]
    if app.notification is not None:
        tx.apps[name] = _with_notification(app, replace(app.notification, next_at=tx.now))


def _with_notification(app: App, notification: PendingNotification | None) -> App:
    if app.publication is None:
        return app
    return replace(app, publication=replace(app.publication, notification=notification))
