"""Which apps may still use a lease: their readers see it, or have not been notified of its successor."""

from lessee.agent.machine.apps.state import NOTIFIED_GRACE, UNNOTIFIED_GRACE, App
from lessee.agent.machine.leases.state import HeldLease
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import StateView


def unused_at(state: StateView, held: HeldLease) -> float:
    """When no app uses a lease any more: each was notified of the successor and had time to read it."""
    if state.stopping:
        return 0.0
    if held.lease.apps & state.moved_apps:
        return NEVER
    return max((_unused_by(state.apps[name], held) for name in held.lease.apps if name in state.apps), default=0.0)


def _unused_by(app: App, held: HeldLease) -> float:
    id_ = held.lease.id
    if app.may_publish(id_) or app.notification is not None or app.is_being_published(id_):
        return NEVER
    if held.ended_at is not None:
        return 0.0  # No app can use it any more.
    previous = app.previous
    if previous is not None and previous.contents.may_contain(id_):
        return NEVER
    if app.spec.notifies:
        return app.readers_changed_at + NOTIFIED_GRACE
    return app.publication.published_at + UNNOTIFIED_GRACE if app.publication is not None else 0.0


def is_settled(app: App, now: float) -> bool:
    """Whether the app's readers use only what the published generation contains."""
    publication = app.publication
    if publication is None or publication.contents.leases is None or publication.notification is not None:
        return False
    if app.dirty or app.job is not None or app.previous is not None:
        return False
    return now >= app.readers_changed_at + NOTIFIED_GRACE
