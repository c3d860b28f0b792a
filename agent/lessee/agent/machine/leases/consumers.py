"""Who may still hold a lease: a reader that has not been told of what came after it."""

from lessee.agent.machine.apps.readiness import is_kept_for_going_back
from lessee.agent.machine.state import KEEP_TOLD, KEEP_UNTOLD, NEVER, App, Held, State
from lessee.agent.machine.transaction import Turn


def may_show(app: App, id_: str) -> bool:
    """Whether the files that an app's readers see may hold this lease."""
    return app.number is not None and (app.shows is None or id_ in app.shows)


def free_at(known: State | Turn, held: Held) -> float:
    """When no reader holds a lease any more: its app has been told of what came after, a moment ago."""
    if known.stopping:
        return 0.0
    if held.lease.apps & known.elsewhere:
        return NEVER
    return max((_free_of(known.apps[name], held) for name in held.lease.apps if name in known.apps), default=0.0)


def _free_of(app: App, held: Held) -> float:
    id_ = held.lease.id
    if may_show(app, id_) or app.owed or (app.job is not None and id_ in app.using):
        return NEVER
    if held.ended_at is not None:
        return 0.0  # nobody can use it any more
    if is_kept_for_going_back(app, id_):
        return NEVER
    if app.want.notifies:
        return max(app.told_at or 0.0, app.published_at or 0.0) + KEEP_TOLD
    return (app.published_at or 0.0) + KEEP_UNTOLD if app.number is not None else 0.0


def is_settled(app: App, now: float) -> bool:
    """Whether an app's readers hold nothing any more of what came before."""
    if app.shows is None or app.owed or app.dirty or app.job is not None or app.proof.backup is not None:
        return False
    return now >= max(app.told_at or 0.0, app.published_at or 0.0) + KEEP_TOLD
