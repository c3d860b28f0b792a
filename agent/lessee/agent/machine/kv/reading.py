"""The reads that the agent sends for KV secrets, and what the responses change."""

from itertools import islice

from lessee.agent.machine.kv.needs import mark_dirty
from lessee.agent.machine.kv.polling import (
    free_read_slots,
    members,
    new_secret,
    next_check_of,
    next_round,
    poll_each_secret,
    reset_polling,
    retry_read_at,
    set_mount,
)
from lessee.agent.machine.kv.state import KvMount, KvSecret
from lessee.agent.machine.session.login import reset_lookup_interval
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.failures import Failure, Kind, denial_help
from lessee.core.immutable import replace
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import VersionMetadata
from lessee.protocol.commands import DetectKvVersion, ListFolder, ReadMetadata, ReadSecret
from lessee.protocol.events import FolderListed, MetadataRead, SecretRead


def plan_reads(tx: Transaction) -> None:
    """Send the reads that are due, as far as there are slots for them."""
    slots = free_read_slots(tx)
    if slots == 0:
        return
    for send in _send_detections, _send_lists, _send_reads:
        slots -= send(tx, slots)


def _send_detections(tx: Transaction, slots: int) -> int:
    due = list(islice(tx.mounts.due(tx.now), slots))
    for name in due:
        request = tx.new_id()
        tx.mounts[name] = replace(tx.mounts[name], request=request)
        tx.send(DetectKvVersion(request, name))
    return len(due)


def _send_lists(tx: Transaction, slots: int) -> int:
    due = list(islice(tx.folders.due(tx.now), slots))
    for name in due:
        folder, request = tx.folders[name], tx.new_id()
        # The regular check also covers the event; a check because of an event does not replace the regular one.
        next_at = next_round(tx, folder.refresh_interval) if folder.next_at <= tx.now else folder.next_at
        tx.folders[name] = replace(folder, request=request, next_at=next_at, event_due_at=NEVER)
        tx.send(ListFolder(request, name, tx.mounts[name.mount].version, detailed=folder.lists_metadata))
    return len(due)


def _send_reads(tx: Transaction, slots: int) -> int:
    due = list(islice(tx.secrets.due(tx.now), slots))
    for ref in due:
        secret, request = tx.secrets[ref], tx.new_id()
        is_reported = secret.event_due_at <= tx.now
        tx.secrets[ref] = replace(secret, request=request, event_due_at=NEVER if is_reported else secret.event_due_at)
        reads_data = secret.stale or secret.polls_data or is_reported
        version = tx.mounts[ref.mount].version
        tx.send(ReadSecret(request, ref, version) if reads_data else ReadMetadata(request, ref))
    return len(due)


def on_kv_version_detected(tx: Transaction, name: str, version: int) -> None:
    """The mount's version is known. Version 1 has no metadata."""
    had_failed = tx.mounts[name].attempts > 0
    set_mount(tx, name, KvMount(version=version))
    if not tx.source:
        tx.log("debug", "kv version detected", mount=name, kv_version=version)
    if had_failed:
        reset_polling(tx, name)
    if version == 1:
        for folder in tx.folders:
            if folder.mount == name:
                poll_each_secret(tx, folder, reason="KV version 1 has no metadata")


def on_folder_listed(tx: Transaction, command: ListFolder, event: FolderListed) -> None:
    """Compare a folder's names, and the metadata if the server returned it."""
    name = command.folder
    folder = tx.folders.get(name)
    if folder is None:
        return
    folder = replace(folder, failure=None, attempts=0, last_checked_at=tx.now)
    if event.secrets is folder.listing:
        tx.folders[name] = folder
        return
    names, compares = tuple(sorted(event.secrets)), command.detailed and folder.lists_metadata
    tx.folders[name] = replace(folder, names=names, listing=event.secrets if compares else None)
    if folder.reads_all and names != folder.names:
        _update_members(tx, name, folder.names or (), names)
    if compares:
        for ref in members(tx, name):
            _compare_metadata(tx, ref, event.secrets.get(ref.path.removeprefix(name.path)))


def _update_members(tx: Transaction, name: Folder, before: tuple[str, ...], names: tuple[str, ...]) -> None:
    for ref in map(name.ref, names):
        if ref not in tx.secrets:
            tx.secrets[ref] = new_secret(tx, ref)
    needed = set(tx.folders[name].refs)
    for secret in set(before) - set(names):
        ref = name.ref(secret)
        if ref not in needed:
            tx.secrets.pop(ref, None)
    mark_dirty(tx, name)


def forget_listings(tx: Transaction) -> None:
    """Compare the next listing of a folder whose secrets have changed, even if it is the same as the last one."""
    for ref in tx.secrets.changes:
        folder = tx.folders.get(ref.folder)
        if folder is not None and folder.listing is not None:
            tx.folders[ref.folder] = replace(folder, listing=None)


def on_metadata_read(tx: Transaction, ref: Ref, event: MetadataRead) -> None:
    """Compare the metadata of a secret's latest version."""
    secret = tx.secrets.get(ref)
    if secret is None:
        return
    tx.secrets[ref] = secret = replace(secret, last_checked_at=tx.now)
    if event.metadata.deletion_time:
        failure = not_found(ref, event.metadata)
        next_at = retry_read_at(tx, ref, secret, failure)
        secret_failed(tx, ref, replace(secret, seen_metadata=event.metadata), failure, next_at=next_at)
        return
    _compare_metadata(tx, ref, event.metadata)
    secret = tx.secrets[ref]
    if not secret.stale:
        tx.secrets[ref] = replace(secret, next_at=next_check_of(tx, ref), attempts=0)


def _compare_metadata(tx: Transaction, ref: Ref, metadata: VersionMetadata | None) -> None:
    secret = tx.secrets[ref]
    if metadata is None or metadata.deletion_time:
        failure = not_found(ref, metadata)
        if secret.failure != failure or secret.seen_metadata != metadata:
            secret_failed(tx, ref, replace(secret, seen_metadata=metadata), failure, next_at=NEVER)
        return
    was_missing = secret.failure is not None and secret.failure.kind is Kind.NOT_FOUND
    # If the agent already knows of this version and could not read it, the retry has its own time.
    is_news = secret.seen_metadata != metadata or not secret.stale
    if (metadata != secret.metadata or was_missing) and is_news:
        tx.secrets[ref] = replace(secret, seen_metadata=metadata, stale=True, next_at=tx.now, attempts=0)


def not_found(ref: Ref, metadata: VersionMetadata | None) -> Failure:
    """The failure of a secret that does not exist, or whose latest or pinned version is deleted."""
    if ref.version is None:
        return Failure(Kind.NOT_FOUND, "it does not exist" if metadata is None else "its latest version is deleted")
    if metadata is None:
        return Failure(Kind.NOT_FOUND, f"it does not exist, or has no version {ref.version}; see `bao kv metadata get`")
    what = "destroyed" if metadata.deletion_time == "destroyed" else "deleted"
    return Failure(Kind.NOT_FOUND, f"its version {ref.version} is {what}; write another `version=`, or none")


def secret_failed(tx: Transaction, ref: Ref, secret: KvSecret, failure: Failure, *, next_at: float) -> None:
    """A secret cannot be read; it is retried at `next_at`."""
    if secret.failure != failure:
        tx.log("warning", "secret not read", secret=str(ref), reason=failure.text, **denial_help(failure))
        if failure.kind is Kind.NOT_FOUND:
            mark_dirty(tx, ref.folder)  # A folder is rendered without a secret that does not exist.
    tx.secrets[ref] = replace(
        secret,
        failure=failure,
        attempts=secret.attempts + 1,
        since=tx.failing_since(secret),
        stale=True,
        next_at=next_at,
    )


def on_secret_read(tx: Transaction, ref: Ref, event: SecretRead) -> None:
    """Render the apps again if the secret has changed."""
    known = tx.secrets.get(ref)
    if known is None:
        return
    secret = event.secret
    version = secret.metadata.version if secret.metadata else None
    if known.failure is not None:
        tx.log("info", "secret available", secret=str(ref), version=version)
        if known.failure.kind is Kind.DENIED:
            reset_lookup_interval(tx)
        if known.failure.kind is Kind.NOT_FOUND:
            mark_dirty(tx, ref.folder)  # It was rendered without this secret.
    # repr distinguishes true from 1 and 1 from 1.0, which == does not.
    if known.secret is None or repr(known.secret.data) != repr(secret.data):
        tx.log("debug", "secret read", secret=str(ref), version=version)
        mark_dirty(tx, ref)
    else:  # The same object shows the renderer that nothing has changed.
        secret = replace(secret, data=known.secret.data)
    tx.secrets[ref] = replace(
        known,
        secret=secret,
        metadata=secret.metadata,
        stale=False,
        failure=None,
        attempts=0,
        last_checked_at=tx.now,
        last_read_at=tx.now,
        next_at=next_check_of(tx, ref),
    )
