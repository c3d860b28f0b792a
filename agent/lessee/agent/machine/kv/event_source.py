"""The event source: while it is live, the agent reads what it names immediately, and polls everything else rarely.

An event is only a hint: it costs one read of a path that is read anyway, at a limited rate, and says nothing about the
value. When the source fails, each path is polled within its `refresh_interval` again.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from lessee.agent.machine.kv.state import EventSource
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import Transaction
from lessee.core.change_events import Change
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.protocol.commands import ListFolder, ReadMetadata, ReadSecret
from lessee.protocol.events import EventSourceChanged, SecretsChanged

PATH_INTERVAL, PATH_BURST = 0.2, 3
"""The rate limit: seconds between two reads of a path that events name repeatedly, after an initial burst."""
TOTAL_INTERVAL, TOTAL_BURST = 0.05, 100
"""The same for all paths together."""

_MIN_SPREAD = 0.25
"""The fraction of a `refresh_interval` over which the agent spreads its checks after a source that was silent longer
than that."""


def affected_needs(state: State, change: Change) -> frozenset[Need]:
    """The secrets and folders that a change may affect, of those that templates read."""
    return frozenset(need for mount in _mounts_of(change) for need in _affected_needs(state, change, mount))


def _mounts_of(change: Change) -> Iterator[str]:
    """The names that the mount may have for a login in any of the namespaces above it."""
    mount = change.mount
    yield mount
    for name in reversed(change.namespace.split("/")) if change.namespace else ():
        mount = f"{name}/{mount}"
        yield mount


def _affected_needs(state: State, change: Change, mount: str) -> Iterator[Need]:
    ref = Ref(mount, change.full_path)
    if ref in state.secrets:
        yield ref
    folder = state.folders.get(ref.folder)
    if folder is not None and folder.reads_all:
        is_new = not _is_among(folder.names or (), ref.path.removeprefix(ref.folder.path))
        if is_new or change.operation == "remove":
            yield ref.folder
    read = {f"{change.mount}/data/{change.full_path}", f"{change.mount}/{change.full_path}"}
    yield from (need for need in state.issuances if need.is_polled and need.path in read)
    if change.operation == "rotate":
        path = f"{mount}/{change.path}"
        yield from (need for need in state.issuances if need.path == path)


def _is_among(names: Sequence[str], name: str) -> bool:
    index = bisect_left(names, name)
    return index < len(names) and names[index] == name


def on_event_source_changed(tx: Transaction, event: EventSourceChanged) -> None:
    """Poll rarely while a source is live, and within `refresh_interval` again once it is not."""
    before = tx.event_source
    tx.event_source = replace(before, live=event.live, poll_interval=event.poll_interval, jitter=event.jitter)
    if event.live and not before.live:
        _repeat_pending_reads(tx)
        tx.log("info", "event source connected", poll_interval=event.poll_interval)
    elif before.live and not event.live:
        tx.event_source = replace(tx.event_source, last_live_at=tx.now - event.silent_for)
        _poll_again(tx, event.silent_for)
        tx.log("warning", "event source disconnected", note="each secret is polled within its refresh_interval")


def on_secrets_changed(tx: Transaction, event: SecretsChanged) -> None:
    """Read what the source names, within the rate limit."""
    slots = {need: slot for need, slot in tx.event_source.next_slots.items() if slot > tx.now}
    for need in sorted(event.needs, key=str):
        match need:
            case Ref() if need in tx.secrets and need.version is None:
                secret = tx.secrets[need]
                if secret.event_due_at == NEVER:
                    tx.secrets[need] = replace(secret, event_due_at=_next_slot(tx, slots, need))
            case Folder() if need in tx.folders:
                folder = tx.folders[need]
                if folder.event_due_at == NEVER:
                    tx.folders[need] = replace(folder, event_due_at=_next_slot(tx, slots, need))
            case DynamicSecret() if need in tx.issuances:
                held = tx.leases.get(tx.issuances[need].lease or "")
                if held is not None and held.lease.static and held.replace_at > tx.now:
                    at = min(held.replace_at, _next_slot(tx, slots, need))
                    tx.leases[held.lease.id] = replace(held, replace_at=at)
            case _:
                pass  # No template reads it any more, or it is a pinned version, which never changes.
    tx.event_source = replace(tx.event_source, next_slots=slots)


def poll_interval(source: EventSource, refresh_interval: float) -> float:
    """Seconds between two checks that no event triggers."""
    return max(refresh_interval, source.poll_interval) if source.live else refresh_interval


def _next_slot(tx: Transaction, slots: dict[Need, float], need: Need) -> float:
    """When to read it: now, or later if it or all paths together were named often.

    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """
    source, now = tx.event_source, tx.now
    at, slots[need] = _take_slot(slots.get(need, now), now, PATH_INTERVAL, PATH_BURST)
    at_of_all, slot_of_all = _take_slot(source.next_slot_of_all, now, TOTAL_INTERVAL, TOTAL_BURST)
    tx.event_source = replace(source, next_slot_of_all=slot_of_all)
    # Many agents receive the event at the same moment.
    jitter = source.jitter * tx.random() if source.jitter else 0.0
    return max(at, at_of_all) + jitter


def _take_slot(slot: float, now: float, interval: float, burst: int) -> tuple[float, float]:
    slot = max(slot, now)
    at = max(now, slot - interval * (burst - 1))
    return at, slot + interval


def _repeat_pending_reads(tx: Transaction) -> None:
    """A response under way may be older than the first change that the source reports."""
    for request in tx.requests.values():
        match request.command:
            case ListFolder(folder=folder) if folder in tx.folders:
                tx.folders[folder] = replace(tx.folders[folder], event_due_at=tx.now)
            case ReadMetadata(ref=ref) | ReadSecret(ref=ref) if ref in tx.secrets and ref.version is None:
                tx.secrets[ref] = replace(tx.secrets[ref], event_due_at=tx.now)
            case _:
                pass


def _poll_again(tx: Transaction, silent_for: float) -> None:
    # Within `refresh_interval` of the first change that the source may have missed. Random, because all agents lose
    # their monitor at the same moment.
    def within(refresh_interval: float) -> float:
        return tx.now + max(refresh_interval - silent_for, refresh_interval * _MIN_SPREAD) * tx.random()

    for name, folder in tx.folders.items():
        if (soon := within(folder.refresh_interval)) < folder.next_at != NEVER:
            tx.folders[name] = replace(folder, next_at=soon)
    for ref, secret in tx.secrets.items():
        parent = tx.folders.get(ref.folder) if ref.version is None else None
        # A failed secret keeps the time of its retry.
        if parent is None or parent.lists_metadata or secret.failure is not None:
            continue
        if (soon := within(parent.refresh_interval)) < secret.next_at:
            tx.secrets[ref] = replace(secret, next_at=soon)
