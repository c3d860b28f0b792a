"""What an agent does that is told of changes: it looks at once at what was named, and seldom at all the rest.

A hint is never believed: it costs one read of a path that is read anyway, however many come, and says nothing of what
is there. Who tells may be gone at any time, and then each path is looked at within its `refresh`, as without.
"""

from collections.abc import Iterator

from lessee.agent.machine.protocol.commands import ListFolder, ReadMetadata, ReadSecret
from lessee.agent.machine.protocol.events import EventSourceChanged, SecretsChanged
from lessee.agent.machine.state import NEVER, Heard, State
from lessee.agent.machine.transaction import Turn
from lessee.core.change_events import Change
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref

EVERY, AT_ONCE = 0.2, 3
"""Seconds between two reads of one path that is named again and again; the first few come at once."""
EVERY_OF_ALL, AT_ONCE_OF_ALL = 0.05, 100
"""As above, of all paths together."""

_AT_LEAST = 0.25
"""Of a `refresh`, over which looks are spread when who tells of changes was silent for longer."""


def meant(state: State, change: Change) -> frozenset[Need]:
    """What of all that templates read may have changed; nothing of it where a stranger's path is named."""
    return frozenset(_meant(state, change))


def _meant(state: State, change: Change) -> Iterator[Need]:
    ref = Ref(change.mount, change.full_path)
    if ref in state.sources:
        yield ref
    group = state.groups.get(ref.folder)
    if group is not None and group.wants_names:
        names = group.names or ()
        is_new = ref.path.removeprefix(ref.folder.path) not in names
        if is_new or change.operation == "remove":
            yield ref.folder
    if change.operation == "rotate":
        dynamic = f"{change.mount}/{change.path}"
        yield from (need for need in state.supplies if need.path == dynamic)


def listening(turn: Turn, event: EventSourceChanged) -> None:
    """Somebody tells of changes from now on, or nobody does any more."""
    before, now = turn.hearing, turn.now
    turn.hearing = replace(before, live=event.live, poll=event.poll, spread=event.spread)
    if event.live and not before.live:
        _ask_again(turn)
        turn.tell("info", "changes are told", note=f"all is looked at every {event.poll:g} s")
    elif before.live and not event.live:
        turn.hearing = replace(turn.hearing, until=now - event.silent)
        _poll_again(turn, event.silent)
        turn.tell("warning", "changes are not told", note="each secret is looked at within its refresh")


def changed(turn: Turn, event: SecretsChanged) -> None:
    """These may have changed."""
    for need in sorted(event.needs, key=str):
        match need:
            case Ref() if need in turn.sources and need.version is None:
                source = turn.sources[need]
                if source.told_at == NEVER:
                    turn.edit_sources()[need] = replace(source, told_at=_slot(turn, need))
            case Folder() if need in turn.groups:
                group = turn.groups[need]
                if group.told_at == NEVER:
                    turn.edit_groups()[need] = replace(group, told_at=_slot(turn, need))
            case DynamicSecret() if need in turn.supplies:
                held = turn.leases.get(turn.supplies[need].lease or "")
                if held is not None and held.lease.static and held.replace_at > turn.now:
                    at = min(held.replace_at, _slot(turn, need))
                    turn.edit_leases()[held.lease.id] = replace(held, replace_at=at)
            case _:
                pass  # It is no longer wanted, or never changes.


def _slot(turn: Turn, need: Need) -> float:
    """When to look at it: at once, but where that was often so of late.

    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """
    hearing, now = turn.hearing, turn.now
    at, its = _next(hearing.slots.get(need, now), now, EVERY, AT_ONCE)
    at_all, all_ = _next(hearing.all_slots, now, EVERY_OF_ALL, AT_ONCE_OF_ALL)
    slots = {other: slot for other, slot in hearing.slots.items() if slot > now}
    turn.hearing = replace(hearing, slots={**slots, need: its}, all_slots=all_)
    # Many agents hear of it in the same moment.
    spread = hearing.spread * turn.draw() if hearing.spread else 0.0
    return max(at, at_all) + spread


def _next(slot: float, now: float, every: float, at_once: int) -> tuple[float, float]:
    slot = max(slot, now)
    at = max(now, slot - every * (at_once - 1))
    return at, slot + every


def _ask_again(turn: Turn) -> None:
    """What is being asked may be answered as it was before the first change that is told."""
    for call in turn.calls.values():
        match call.command:
            case ListFolder(folder=folder) if folder in turn.groups:
                turn.edit_groups()[folder] = replace(turn.groups[folder], told_at=turn.now)
            case ReadMetadata(ref=ref) | ReadSecret(ref=ref) if ref in turn.sources and ref.version is None:
                turn.edit_sources()[ref] = replace(turn.sources[ref], told_at=turn.now)
            case _:
                pass  # It tells of no change.


def _poll_again(turn: Turn, silent: float) -> None:
    # Within `refresh` of the moment at which something may first have been missed; but spread out, for all agents lose
    # their monitor in the same moment.
    def within(refresh: float) -> float:
        return turn.now + max(refresh - silent, refresh * _AT_LEAST) * turn.draw()

    for folder, group in turn.groups.items():
        if (soon := within(group.refresh)) < group.next_at != NEVER:
            turn.edit_groups()[folder] = replace(group, next_at=soon)
    for ref, source in turn.sources.items():
        its = turn.groups.get(ref.folder) if ref.version is None else None
        # What failed keeps its own time.
        if its is None or its.by_list or source.failure is not None:
            continue
        if (soon := within(its.refresh)) < source.next_at:
            turn.edit_sources()[ref] = replace(source, next_at=soon)


def pace(hearing: Heard, refresh: float) -> float:
    """Seconds between two looks of one's own accord."""
    return max(refresh, hearing.poll) if hearing.live else refresh
