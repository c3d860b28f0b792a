"""What a failed read changes: its own path waits or is read in another way, and other paths are not affected."""

from lessee.agent.machine.kv.polling import next_check_of, poll_each_secret, retry_read_at, set_mount
from lessee.agent.machine.kv.reading import not_found, on_folder_listed, secret_failed
from lessee.agent.machine.kv.state import KvFolder, KvSecret
from lessee.agent.machine.session.login import suspect_token
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.failures import Failure, Kind, denial_help
from lessee.core.immutable import replace
from lessee.core.paths import Ref
from lessee.core.secrets import VersionMetadata
from lessee.protocol.commands import DetectKvVersion, ListFolder, ReadMetadata, ReadSecret
from lessee.protocol.events import FolderListed

_METADATA_NOT_READABLE = frozenset({Kind.DENIED, Kind.UNSUPPORTED, Kind.INVALID})


def on_read_failed(
    tx: Transaction,
    command: DetectKvVersion | ListFolder | ReadMetadata | ReadSecret,
    failure: Failure,
    metadata: VersionMetadata | None,
) -> None:
    """A read failed, and not because of an outage."""
    is_repeated_detection = isinstance(command, DetectKvVersion) and tx.mounts[command.mount].attempts > 0
    if failure.kind is Kind.DENIED and not is_repeated_detection:
        suspect_token(tx)
    match command:
        case DetectKvVersion():
            _mount_failed(tx, command.mount, failure)
        case ListFolder() if command.folder in tx.folders:
            _list_failed(tx, command, tx.folders[command.folder], failure)
        case ReadMetadata() if command.ref in tx.secrets:
            _metadata_failed(tx, command.ref, tx.secrets[command.ref], failure)
        case ReadSecret() if failure.kind is Kind.UNSUPPORTED:
            _mount_failed(tx, command.ref.mount, Failure(Kind.NOT_FOUND, "the mount does not exist any more"))
        case ReadSecret() if command.ref in tx.secrets:
            _data_failed(tx, command.ref, tx.secrets[command.ref], failure, metadata)
        case _:
            pass  # No template reads it any more.


def _mount_failed(tx: Transaction, name: str, failure: Failure) -> None:
    mount = tx.mounts[name]
    if mount.failure != failure:
        tx.log("warning", "kv version not detected", mount=name, reason=failure.text, **denial_help(failure))
    next_at, since = tx.retry_at(mount, failure), tx.failing_since(mount)
    mount = replace(mount, version=0, failure=failure, attempts=mount.attempts + 1, since=since, next_at=next_at)
    set_mount(tx, name, mount)


def _list_failed(tx: Transaction, command: ListFolder, folder: KvFolder, failure: Failure) -> None:
    name = command.folder
    if failure.kind is Kind.NOT_FOUND:  # Vault's response for an empty folder.
        on_folder_listed(tx, command, FolderListed(command.request_id, {}))
    elif command.detailed and failure.kind in _METADATA_NOT_READABLE:
        poll_each_secret(tx, name, reason=failure.text)
    else:
        if folder.failure != failure:
            tx.log("warning", "folder not listed", folder=str(name), reason=failure.text, **denial_help(failure))
        next_at, since = tx.retry_at(folder, failure, base=folder.refresh_interval), tx.failing_since(folder)
        tx.folders[name] = replace(folder, failure=failure, attempts=folder.attempts + 1, since=since, next_at=next_at)


def _metadata_failed(tx: Transaction, ref: Ref, secret: KvSecret, failure: Failure) -> None:
    if failure.kind in _METADATA_NOT_READABLE:
        tx.log("info", "metadata not readable, polling data", secret=str(ref), reason=failure.text)
        tx.secrets[ref] = replace(secret, polls_data=True, next_at=tx.now)
    else:
        failure = not_found(ref, None) if failure.kind is Kind.NOT_FOUND else failure
        secret_failed(tx, ref, secret, failure, next_at=retry_read_at(tx, ref, secret, failure))


def _data_failed(
    tx: Transaction, ref: Ref, secret: KvSecret, failure: Failure, metadata: VersionMetadata | None
) -> None:
    is_listed = next_check_of(tx, ref) == NEVER and ref.version is None
    next_at = retry_read_at(tx, ref, secret, failure)
    if failure.kind is Kind.NOT_FOUND:
        failure = not_found(ref, metadata)
        secret = replace(secret, seen_metadata=metadata)
        next_at = NEVER if is_listed else next_at  # The LIST of its folder shows when it exists again.
    secret_failed(tx, ref, secret, failure, next_at=next_at)
