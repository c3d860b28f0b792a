"""What a step has to look at: what its changes concern, and what is due."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

from lessee.agent.machine.leases.state import is_replaced
from lessee.agent.machine.table import TableEditor
from lessee.agent.machine.transaction import Transaction
from lessee.core.paths import DynamicSecret, Need, Ref

_K = TypeVar("_K")
_V = TypeVar("_V")


def affected_apps(tx: Transaction) -> list[str]:
    """The apps that have changed, or one of whose secrets has."""
    if tx.concerns_all:
        return list(tx.apps)
    names = set(tx.apps.changes)
    needs: Iterable[Need] = chain(tx.secrets.changes, tx.folders.changes, tx.issuances.changes)
    for need in needs:
        names.update(apps_that_need(tx, need))
    for id_, before in tx.leases.changes.items():
        for held in (before, tx.leases.get(id_)):
            if held is not None:
                names.update(held.lease.apps, apps_that_need(tx, held.lease.need))
    return tx.apps.in_order(names)


def apps_that_need(tx: Transaction, need: Need) -> tuple[str, ...]:
    """The apps that name a secret or a folder, or the folder of the secret."""
    names = tx.apps_by_need.get(need, ())
    return names + tx.apps_by_need.get(need.folder, ()) if isinstance(need, Ref) else names


def affected_leases(tx: Transaction) -> list[str]:
    """The leases that have changed, and those that wait for an app that has changed."""
    if tx.concerns_all:
        return list(tx.leases)
    ids = set(tx.leases.changes)
    if tx.apps.changes and tx.leases.count(is_replaced):
        changed = tx.apps.changes.keys()
        waiting = ((id_, held) for id_, held in tx.leases.items() if is_replaced(held))
        ids.update(id_ for id_, held in waiting if not changed.isdisjoint(held.lease.apps))
    return tx.leases.in_order(ids)


def affected_issuances(tx: Transaction) -> list[DynamicSecret]:
    """The issuances that have changed, or whose lease has."""
    if tx.concerns_all:
        return list(tx.issuances)
    needs = set(tx.issuances.changes)
    for id_, before in tx.leases.changes.items():
        needs.update(held.lease.need for held in (before, tx.leases.get(id_)) if held is not None)
    return tx.issuances.in_order(needs)


def affected_reports(tx: Transaction) -> list[str]:
    """The apps that have changed, or whose report has."""
    return list(tx.apps) if tx.concerns_all else tx.apps.in_order(tx.apps.changes.keys() | tx.version_reports.changes)


def note_deadlines(
    deadlines: TableEditor[_K, float], items: TableEditor[_K, _V], affected: Iterable[_K], due_at: Callable[[_V], float]
) -> None:
    """Note when each affected item is due, and forget the deadlines of deleted items."""
    for key in affected:
        at = due_at(items[key])
        if deadlines.get(key) != at:
            deadlines[key] = at
    for key in items.changes:
        if key not in items:
            deadlines.pop(key, None)
