"""Which apps are configured, and what a previous run or another identity left of each."""

from collections.abc import Mapping

from lessee.agent.machine.apps.fallback import reset_fallback
from lessee.agent.machine.apps.readiness import allow_retry, stop_probing
from lessee.agent.machine.apps.state import (
    App,
    Contents,
    FailedGeneration,
    FallbackState,
    PendingNotification,
    PreviousGeneration,
    ProbeDue,
    Publication,
    Readiness,
    Ready,
    SnapshotState,
    Unverified,
    to_be_watched,
)
from lessee.agent.machine.transaction import Transaction
from lessee.core.immutable import replace
from lessee.protocol.app_spec import AppSpec
from lessee.protocol.events import AppRecovered


def configure_apps(tx: Transaction, specs: Mapping[str, AppSpec]) -> None:
    """Serve these apps. One that was served before retains its state; changed templates or settings render it again."""
    for name in set(tx.apps) - set(specs):
        if name not in tx.moved_apps and tx.apps[name].spec.supplies is None:
            tx.log("warning", "app removed from configuration", app=name, note="its files remain unchanged")
        del tx.apps[name]
    for name, spec in specs.items():
        app = tx.apps.get(name)
        if app is None:
            tx.apps[name] = App(spec)
        elif spec.supplies is not None:
            tx.apps[name] = replace(app, spec=spec, dirty=app.dirty or app.spec != spec)
        elif app.spec != spec:
            _reconfigure(tx, name, spec)


def _reconfigure(tx: Transaction, name: str, spec: AppSpec) -> None:
    app = tx.apps[name]
    is_recompiled, same_needs = app.spec.compiled_app != spec.compiled_app, app.spec.needs == spec.needs
    publication = app.publication
    if publication is not None and not spec.notifies:
        publication = replace(publication, notification=None)
    dirty = app.dirty or is_recompiled or not same_needs or app.spec.optional != spec.optional
    supplies = {source: supply for source, supply in app.supplies.items() if source in spec.sources}
    app = tx.apps[name] = replace(app, spec=spec, dirty=dirty, publication=publication, supplies=supplies)
    if is_recompiled:
        # The result of the old templates is not wanted any more, and the app may be checked and probed differently.
        tx.apps[name] = reset_fallback(replace(app, job=None), same_needs=same_needs)
        allow_retry(tx, name)
    if app.unverified is not None and not spec.probes:
        stop_probing(tx, name)


def on_app_recovered(tx: Transaction, event: AppRecovered) -> None:
    """Continue with what a previous run published, and with the notification and the probe that are pending."""
    app = tx.apps.get(event.app)
    if app is not None:
        if event.is_missing:
            tx.log(
                "warning",
                "files missing",
                app=event.app,
                note="another program removed them, or their tmpfs ended; they are rendered again",
            )
            drift = replace(app.drift, total=app.drift.total + 1, found="all files: removed", found_at=tx.now)
            app = replace(app, drift=drift)
        tx.apps[event.app] = replace(
            app,
            dirty=True,
            job=None,
            publication=_recovered_publication(tx, event, app.spec),
            old_generations=event.old_generations,
            fallback=FallbackState(),
            snapshot=SnapshotState(),
            drift=app.drift if event.number is None else to_be_watched(app, tx.now, among=len(tx.apps)),
        )


def _recovered_publication(tx: Transaction, event: AppRecovered, spec: AppSpec) -> Publication | None:
    if event.number is None:
        return None
    failed = event.failed_fingerprint if spec.probes else None
    return Publication(
        event.number,
        # Without a recorded time, the app is notified whenever it started.
        published_at=event.published_at if event.published_at is not None else tx.now,
        fallback=event.fallback,
        notification=PendingNotification(0.0) if event.notification_pending and spec.notifies else None,
        readiness=_recovered_readiness(event) if spec.probes else Ready(),
        rolled_back=FailedGeneration(failed, None) if failed is not None else None,
    )


def _recovered_readiness(event: AppRecovered) -> Readiness:
    if not event.readiness_pending:
        return Ready()
    previous = PreviousGeneration(event.rollback_to, Contents()) if event.rollback_to is not None else None
    return Unverified(ProbeDue(0.0), previous=previous, fingerprint=event.fingerprint)


def hand_over(name: str, app: App) -> AppRecovered:
    """What this identity knows of an app, for another identity that serves it from now on."""
    publication, previous, unverified = app.publication, app.previous, app.unverified
    if publication is None:
        return AppRecovered(name, None, notification_pending=False, old_generations=app.old_generations)
    return AppRecovered(
        name,
        publication.number,
        notification_pending=publication.notification is not None,
        published_at=publication.published_at,
        old_generations=app.old_generations,
        readiness_pending=unverified is not None,
        rollback_to=previous.number if previous is not None else None,
        failed_fingerprint=publication.rolled_back.fingerprint if publication.rolled_back is not None else None,
        fingerprint=unverified.fingerprint if unverified is not None else None,
        fallback=publication.fallback,
    )
