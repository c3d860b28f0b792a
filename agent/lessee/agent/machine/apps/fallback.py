"""The fallback at a cold start without Vault, which is replaced as soon as Vault provides the secrets.

no files, Vault unavailable for COLD_START_DELAY ──► render fallback ──► check ──► publish ──► Vault available: replaced
                            │                              └─ failed: logged and tried again, while the app waits
                            └─ Vault denied a secret, or does not have it: no fallback
"""

from lessee.agent.machine.apps.inputs import TEMPORARY, input_failures, inputs_of, optional_missing, required_missing
from lessee.agent.machine.apps.jobs import job_of
from lessee.agent.machine.apps.state import (
    App,
    FallbackState,
    Ready,
    Rejected,
    RenderingFallback,
    SnapshotState,
    WriteFailed,
)
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.failures import Kind
from lessee.core.generation import FallbackKind
from lessee.core.immutable import replace
from lessee.protocol.commands import RenderFallback, SaveSnapshot
from lessee.protocol.events import FallbackFailed, SnapshotSaved

COLD_START_DELAY = 2.0
"""Seconds after which Vault must still be unavailable: its restart, or a network that is up late, is no outage. With
the intervals between probes, this is two to seven seconds after the first failure."""
SNAPSHOT_INTERVAL = 900.0
"""Seconds between two snapshots of unchanged secrets: the age of a snapshot shows when they were last valid."""
SNAPSHOT_RETRY_DELAY = 60.0
"""Seconds after which a snapshot that could not be written is tried again."""


def plan_fallback_bar(tx: Transaction, name: str) -> None:
    """Bar the fallback if Vault denied a secret of the app: in an outage another failure would hide that."""
    app = tx.apps[name]
    if app.spec.falls_back and not app.fallback.barred and _is_cold(app) and _is_denied(tx, app):
        tx.apps[name] = replace(app, fallback=replace(app.fallback, barred=True))


def fallback_due_at(state: StateView, app: App) -> float:
    """When to render an app's fallback; NEVER if the app has files, or must not use its fallback."""
    if not app.spec.falls_back or app.job is not None or isinstance(app.problem, Rejected) or not _is_cold(app):
        return NEVER
    if not may_use_fallback(state, app):
        return NEVER
    retry_at = app.problem.next_at if isinstance(app.problem, WriteFailed) else 0.0
    return max(app.fallback.next_at, retry_at)


def may_use_fallback(state: StateView, app: App) -> bool:
    """Whether Vault is known to be unavailable, and has not denied the app's secrets before."""
    outage = state.session.outage
    is_unavailable = outage is not None and outage.last_failure_at >= outage.since + COLD_START_DELAY
    if app.spec.sources and not is_unavailable:
        is_unavailable = any(failure.kind is Kind.UNAVAILABLE for failure in required_missing(app).values())
    return is_unavailable and not app.fallback.barred and inputs_of(state, app) is None


def render_fallback(tx: Transaction, name: str) -> None:
    """Render an app's files from its fallback."""
    app = tx.apps[name]
    job = RenderingFallback(tx.new_id())
    tx.apps[name] = replace(app, job=job)
    tx.commands.append(RenderFallback(name, job.id, app.spec.compiled_app))


def _is_cold(app: App) -> bool:
    # A fallback that a previous run published is rendered again: it may be better now, and a child needs its
    # environment.
    publication = app.publication
    return publication is None or (publication.fallback is not None and publication.generation is None)


def _is_denied(state: StateView, app: App) -> bool:
    failures = [state.session.failure, *input_failures(state, app).values(), *required_missing(app).values()]
    return any(failure is not None and failure.kind not in TEMPORARY for failure in failures)


def may_save_snapshot(state: StateView, app: App) -> bool:
    """Whether the secrets in an app's files are known to be valid and to work."""
    if not app.spec.saves_snapshots:
        return False
    publication, session = app.publication, state.session
    if publication is None or app.dirty or app.job is not None:
        return False
    is_from_vault = publication.generation is not None and publication.fallback is None
    is_ready = isinstance(publication.readiness, Ready) and publication.rolled_back is None
    if not is_from_vault or not is_ready or session.outage is not None or session.token is None:
        return False
    # The snapshot must suffice for all templates.
    return not optional_missing(app) and inputs_of(state, app) is not None


def snapshot_due_at(state: StateView, app: App) -> float:
    """When to save an app's last-known-good snapshot."""
    return app.snapshot.next_at if may_save_snapshot(state, app) else NEVER


def save_snapshot(tx: Transaction, name: str) -> None:
    """Save the secrets in an app's files as its last-known-good snapshot."""
    app = tx.apps[name]
    found = inputs_of(tx, app)
    assert found is not None
    leases = [tx.leases[id_].lease for id_ in found.leases if id_ in tx.leases]
    ends = {lease.need: lease.ends_at for lease in leases if lease.ends_at != NEVER}
    for supply in app.supplies.values():
        ends |= supply.ends
    tx.apps[name] = replace(app, snapshot=replace(app.snapshot, next_at=tx.now + SNAPSHOT_INTERVAL))
    tx.commands.append(SaveSnapshot(name, found.secrets, found.folders, found.dynamic, ends))


def on_snapshot_saved(tx: Transaction, event: SnapshotSaved) -> None:
    """Log a new error once, and try again."""
    app = tx.apps.get(event.app)
    if app is None:
        return
    snapshot = replace(app.snapshot, error=event.error)
    if event.error is not None:
        if app.snapshot.error != event.error:
            tx.log("error", "last-known-good snapshot not saved", app=event.app, reason=event.error)
        snapshot = replace(snapshot, next_at=tx.now + SNAPSHOT_RETRY_DELAY)
    tx.apps[event.app] = replace(app, snapshot=snapshot)


def on_fallback_failed(tx: Transaction, event: FallbackFailed) -> None:
    """The fallback cannot be rendered."""
    match job_of(tx, event):
        case _, RenderingFallback():
            fallback_failed(tx, event.app, event.text)
        case _:
            pass


def fallback_failed(tx: Transaction, name: str, text: str) -> None:
    """Log why the fallback cannot be used, and try again: a file may be added, and the app waits for Vault anyway."""
    app = tx.apps[name]
    fallback = app.fallback
    if fallback.error != text:
        tx.log("error", "fallback not rendered", app=name, reason=text, note="the app waits for Vault")
    fallback = replace(
        fallback,
        error=text,
        attempts=fallback.attempts + 1,
        since=tx.failing_since(fallback),
        next_at=tx.retry_at(fallback),
    )
    tx.apps[name] = replace(app, job=None, fallback=fallback)


def log_fallback_change(tx: Transaction, name: str, app: App, source: FallbackKind | None) -> None:
    """Log that readers now see files from another fallback than those in `app`, or from Vault."""
    before = app.active_fallback
    if source is not None and before != source:
        note = "the files are replaced as soon as Vault is available"
        tx.log("warning", "fallback published", app=name, source=source, note=note)
    elif source is None and before is not None:
        tx.log("info", "fallback replaced", app=name)


def reset_fallback(app: App, *, same_needs: bool) -> App:
    """The app with new templates or settings. Its new fallback is tried immediately and replaces the old one.

    `same_needs`: it reads the same secrets, so what Vault denied is still denied.
    """
    publication = app.publication
    if publication is not None and publication.fallback is not None:
        publication = replace(publication, generation=None)
    fallback = FallbackState(barred=same_needs and app.fallback.barred)
    return replace(app, publication=publication, fallback=fallback, snapshot=SnapshotState())
