"""How changes in KV secrets are detected, and when each mount, folder and secret is checked next."""

from collections.abc import Iterator, Sequence

from lessee.agent.machine.kv.event_source import poll_interval
from lessee.agent.machine.kv.state import KvMount, KvSecret, is_retried
from lessee.agent.machine.session.outage import may_request
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Folder, Ref
from lessee.protocol.commands import ReadingCommand

MAX_PENDING_READS = 16
"""Reads that are sent and not answered: enough that the threads of the client never wait for the machine."""
MAX_INDEPENDENT_RETRIES = 3.0
"""Failing paths that are each retried as if they were the only one."""


def read_deadlines(state: StateView) -> Iterator[float]:
    """When `plan_reads` has something to do."""
    if free_read_slots(state) == 0:
        return
    yield from (state.mounts.first_due_at, state.folders.first_due_at, state.secrets.first_due_at)


def free_read_slots(state: StateView) -> int:
    """How many more reads may be sent now."""
    if not may_request(state):
        return 0
    pending = sum(isinstance(request.command, ReadingCommand) for request in state.requests.values())
    # During an outage a read is the probe: one at a time.
    slots = 1 if state.session.outage is not None else max(0, MAX_PENDING_READS - pending)
    return slots if state.session.uses_left is None else min(slots, state.session.uses_left)


def is_read_due(tx: Transaction) -> bool:
    """Whether `plan_reads` has a read to send."""
    return min(tx.mounts.first_due_at, tx.folders.first_due_at, tx.secrets.first_due_at) <= tx.now


def set_mount(tx: Transaction, name: str, mount: KvMount) -> None:
    """Set what is known of a mount. While its version is unknown, nothing in it is listed or read."""
    blocked, was_blocked = not mount.version, not tx.mounts[name].version
    tx.mounts[name] = mount
    if blocked is was_blocked:
        return
    for folder_name, folder in tx.folders.items():
        if folder_name.mount == name:
            tx.folders[folder_name] = replace(folder, blocked=blocked)
    for ref, secret in tx.secrets.items():
        if ref.mount == name:
            tx.secrets[ref] = replace(secret, blocked=blocked)


def new_secret(tx: Transaction, ref: Ref) -> KvSecret:
    """A secret that was never read."""
    version = tx.mounts[ref.mount].version
    return KvSecret(blocked=not version, polls_data=version == 1)


def next_check_of(tx: Transaction, ref: Ref) -> float:
    """When to check a secret that was just checked."""
    if ref.version is not None:
        return NEVER  # A pinned version never changes.
    folder = tx.folders.get(ref.folder)
    if folder is None or folder.lists_metadata:
        return NEVER
    return next_round(tx, folder.refresh_interval)


def next_round(tx: Transaction, refresh_interval: float) -> float:
    """When to check again, within the interval. Random, so that agents drift apart."""
    return tx.now + poll_interval(tx.event_source, refresh_interval) * (0.9 + 0.1 * tx.random())


def retry_read_at(tx: Transaction, ref: Ref, secret: KvSecret, failure: Failure) -> float:
    """When to read a secret again after a failure."""
    folder = tx.folders.get(ref.folder)
    refresh_interval = folder.refresh_interval if folder is not None else 1.0
    return tx.retry_at(secret, failure, base=max(1.0, refresh_interval) * _slowdown(tx))


def _slowdown(tx: Transaction) -> float:
    """The more paths fail, the longer each of them waits: together they cause few requests."""
    return max(1.0, tx.secrets.count(is_retried) / MAX_INDEPENDENT_RETRIES)


def members(tx: Transaction, name: Folder) -> list[Ref]:
    """The secrets of a folder that templates read by themselves or with the folder."""
    folder = tx.folders[name]
    named = [name.ref(secret) for secret in folder.names or ()] if folder.reads_all else []
    return list(dict.fromkeys([*folder.refs, *named]))


def lists_metadata(tx: Transaction, folder: Folder, refs: Sequence[Ref], *, reads_all: bool) -> bool:
    """Whether one LIST should check the folder. For a single secret, its own metadata is the smaller request."""
    return (reads_all or len(refs) > 1) and tx.mounts[folder.mount].version != 1


def poll_each_secret(tx: Transaction, name: Folder, *, reason: str) -> None:
    """Read the metadata of each secret from now on, because a LIST of the folder does not return it."""
    if not tx.source:  # The files of a source have no metadata.
        tx.log("info", "folder metadata not listed, polling each secret", folder=str(name), reason=reason)
    folder = tx.folders[name]
    is_v1 = tx.mounts[name.mount].version == 1
    next_at = tx.now if folder.reads_all else NEVER
    tx.folders[name] = replace(folder, lists_metadata=False, next_at=next_at)
    for ref in members(tx, name):
        secret = tx.secrets[ref]
        next_at = secret.next_at if secret.next_at != NEVER else tx.now
        tx.secrets[ref] = replace(secret, polls_data=secret.polls_data or is_v1, next_at=next_at)


def retry_with_new_token(tx: Transaction) -> None:
    """A new token may have other policies: retry what was denied."""
    for name, mount in tx.mounts.items():
        if mount.failure is not None:
            tx.mounts[name] = replace(mount, next_at=tx.now)
        reset_polling(tx, name, only_denied=True)


def reset_polling(tx: Transaction, mount: str, *, only_denied: bool = False) -> None:
    """Determine again how changes in a mount are detected, and retry all that failed there or was denied."""
    for name, folder in tx.folders.items():
        by_list = lists_metadata(tx, name, folder.refs, reads_all=folder.reads_all)
        if name.mount == mount and (by_list != folder.lists_metadata or folder.failure is not None):
            tx.folders[name] = replace(folder, lists_metadata=by_list, next_at=tx.now)
    is_v1 = tx.mounts[mount].version == 1
    for ref, secret in tx.secrets.items():
        if ref.mount != mount:
            continue
        retries = secret.failure is not None and (not only_denied or secret.failure.kind is Kind.DENIED)
        if retries or secret.polls_data != is_v1:
            next_at = tx.now if retries else secret.next_at
            tx.secrets[ref] = replace(secret, polls_data=is_v1, next_at=next_at)
