"""The requests under way: which item of the state waits for each, and when it is abandoned."""

from collections.abc import Iterator
from typing import Any

from lessee.agent.machine.table import TableEditor
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.immutable import replace
from lessee.protocol.commands import (
    DetectKvVersion,
    IssueSecret,
    LeaseCommand,
    ListFolder,
    ReadingCommand,
    ReadMetadata,
    ReadSecret,
    ReportVersions,
)

ItemCommand = ReadingCommand | LeaseCommand | ReportVersions


def request_deadlines(state: StateView) -> Iterator[float]:
    """When to abandon each request."""
    return (request.times_out_at for request in state.requests.values())


def request_ended(tx: Transaction, command: ItemCommand) -> None:
    """The item may be requested again when it is due."""
    items, key = _item(tx, command)
    if key in items:
        items[key] = replace(items[key], request=None)


def has_failed(tx: Transaction, command: ItemCommand) -> bool:
    """Whether the last request for this item failed as well."""
    items, key = _item(tx, command)
    return key in items and items[key].attempts > 0


def postpone(tx: Transaction, command: ItemCommand) -> None:
    """Request the item again later, although it is not known to be the cause of the failure."""
    items, key = _item(tx, command)
    if key in items:
        item = items[key]
        since, next_at = tx.failing_since(item), tx.retry_at(item)
        items[key] = replace(item, attempts=item.attempts + 1, since=since, next_at=next_at)


def _item(tx: Transaction, command: ItemCommand) -> tuple[TableEditor[Any, Any], object]:
    match command:
        case DetectKvVersion():
            return tx.mounts, command.mount
        case ListFolder():
            return tx.folders, command.folder
        case ReadMetadata() | ReadSecret():
            return tx.secrets, command.ref
        case IssueSecret():
            return tx.issuances, command.need
        case ReportVersions():
            return tx.version_reports, command.app
        case _:
            return tx.leases, command.id
