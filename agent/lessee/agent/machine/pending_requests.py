"""What a request is for: the one item of the state that waits for its answer, and what all of them have in common."""

from collections.abc import MutableMapping
from typing import Any

from lessee.agent.machine.protocol.commands import (
    DetectKvVersion,
    IssueSecret,
    LeaseCommand,
    ListFolder,
    ReadingCommand,
    ReadMetadata,
    ReadSecret,
    ReportVersions,
)
from lessee.agent.machine.transaction import Turn
from lessee.core.immutable import replace

Request = ReadingCommand | LeaseCommand | ReportVersions


def release(turn: Turn, command: Request) -> None:
    """The call is over; what it was for may be asked again, if it is still wanted."""
    items, key = _place(turn, command)
    if key in items:
        items[key] = replace(items[key], call=None)


def has_failed(turn: Turn, command: Request) -> bool:
    """Whether it has failed before, and not succeeded since."""
    items, key = _place(turn, command)
    return key in items and items[key].tries > 0


def put_off(turn: Turn, command: Request) -> None:
    """What it was for is tried again later, though nothing is wrong with it as far as we know."""
    items, key = _place(turn, command)
    if key in items:
        item = items[key]
        items[key] = replace(item, tries=item.tries + 1, since=turn.began(item), next_at=turn.retry_at(item))


def _place(turn: Turn, command: Request) -> tuple[MutableMapping[Any, Any], object]:
    match command:
        case DetectKvVersion():
            return turn.edit_mounts(), command.mount
        case ListFolder():
            return turn.edit_groups(), command.folder
        case ReadMetadata() | ReadSecret():
            return turn.edit_sources(), command.ref
        case IssueSecret():
            return turn.edit_supplies(), command.need
        case ReportVersions():
            return turn.edit_reports(), command.app
        case _:
            return turn.edit_leases(), command.id
