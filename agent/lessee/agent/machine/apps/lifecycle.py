"""The life cycle of an app, from changed inputs to a notified and ready reader.

inputs changed ──► render ──► check ──► publish ──► notify ──► probe ──► prune
"""

from functools import partial

from lessee.agent.machine.affected import affected_apps, note_deadlines
from lessee.agent.machine.apps.fallback import (
    fallback_due_at,
    may_save_snapshot,
    plan_fallback_bar,
    render_fallback,
    save_snapshot,
    snapshot_due_at,
)
from lessee.agent.machine.apps.notification import notification_due_at, notify
from lessee.agent.machine.apps.publication import prune, prune_due_at
from lessee.agent.machine.apps.readiness import plan_retry_of_rolled_back, probe, probe_due_at
from lessee.agent.machine.apps.rendering import render, render_due_at, retain_files
from lessee.agent.machine.apps.state import App, look_due_at
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import StateView, Transaction


def plan_apps(tx: Transaction) -> None:
    """Start what is due for each app."""
    if tx.stopping:
        return
    for name in tx.apps.in_order({*affected_apps(tx), *tx.app_deadlines.due(tx.now)}):
        if tx.apps[name].spec.supplies is not None:
            # Few apps read under several identities.
            from lessee.agent.machine.apps.supplies import plan_supply  # noqa: PLC0415

            plan_supply(tx, name)
            continue
        retain_files(tx, name)
        if tx.now >= render_due_at(tx, tx.apps[name]):
            render(tx, name)
        plan_fallback_bar(tx, name)
        if tx.now >= fallback_due_at(tx, tx.apps[name]):
            render_fallback(tx, name)
        elif tx.now >= tx.apps[name].snapshot.next_at and may_save_snapshot(tx, tx.apps[name]):
            save_snapshot(tx, name)
        plan_retry_of_rolled_back(tx, name)
        if tx.now >= probe_due_at(tx.apps[name]):
            probe(tx, name)
        if tx.now >= notification_due_at(tx.apps[name]):
            notify(tx, name)
        if tx.now >= prune_due_at(tx.apps[name]):
            prune(tx, name)
        if tx.now >= look_due_at(tx.apps[name]):
            # Imported after the first publication.
            from lessee.agent.machine.apps.drift import look  # noqa: PLC0415

            look(tx, name)


def next_app_at(state: State) -> float:
    """When `plan_apps` has something to do."""
    return NEVER if state.stopping else state.deadlines.apps.first_due_at


def set_app_deadlines(tx: Transaction) -> None:
    """Note when the apps are due that this step concerns."""
    note_deadlines(tx.app_deadlines, tx.apps, affected_apps(tx), partial(app_due_at, tx))


def app_due_at(state: StateView, app: App) -> float:
    """When something is due for an app."""
    if app.spec.supplies is not None:
        return NEVER
    return min(
        render_due_at(state, app),
        fallback_due_at(state, app),
        snapshot_due_at(state, app),
        probe_due_at(app),
        notification_due_at(app),
        prune_due_at(app),
        look_due_at(app),
    )
