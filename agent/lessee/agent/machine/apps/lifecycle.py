"""The life cycle of an app, from changed inputs to a notified and ready reader.

inputs changed ──► render ──► check ──► publish ──► notify ──► probe ──► prune
"""

from collections.abc import Iterator

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
from lessee.agent.machine.apps.rendering import render, render_due_at
from lessee.agent.machine.transaction import StateView, Transaction


def plan_apps(tx: Transaction) -> None:
    """Start what is due for each app."""
    if tx.stopping:
        return
    for name in tx.apps:
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


def app_deadlines(state: StateView) -> Iterator[float]:
    """When `plan_apps` has something to do."""
    if state.stopping:
        return
    for app in state.apps.values():
        yield render_due_at(state, app)
        yield fallback_due_at(state, app)
        yield snapshot_due_at(state, app)
        yield probe_due_at(app)
        yield notification_due_at(app)
        yield prune_due_at(app)
