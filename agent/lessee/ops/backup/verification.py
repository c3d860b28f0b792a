"""Verifies an archive: restores it into a private server, and compares."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO

from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup import raft
from lessee.ops.backup.archive import Archive, open_for_reading
from lessee.ops.backup.inspection import Inspection, inspect
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import SNAPSHOT
from lessee.ops.backup.policy.comparison import differences, is_newer_than
from lessee.ops.backup.policy.object_restore import Change, Conflict
from lessee.ops.backup.policy.records import Secret
from lessee.ops.backup.restore import skip
from lessee.ops.backup.scratch_server import scratch_server, unseal
from lessee.ops.backup.secret_reader import each, folders, secret
from lessee.ops.backup.server_writer import Writer
from lessee.vault.admin import AdminClient
from lessee.vault.root_token import generate_root_token


class Verified(ImmutableStruct, frozen=True):
    """The result. `unsupported`: the mounts whose engine a scratch server lacks."""

    inspected: Inspection
    differences: tuple[str, ...]
    unsupported: tuple[str, ...]
    snapshot: str | None
    """The result for the raft snapshot as text; None if the archive has none."""


def verify(
    file: IO[bytes], where: str, keys: Keys, unseal_keys: Sequence[str], progress: Progress = SILENT
) -> Verified:
    """Raises ArchiveError for an incomplete archive, and LesseeError where no scratch server can run."""
    inspected = inspect(file, keys, where, progress)
    progress.phase("starting a private server")
    with scratch_server() as client:
        unsupported = restore_into(client, file, where, keys, inspected.manifest.counts.secrets, progress)
        found = list(_compare(file, where, keys, client, unsupported, progress))
    snapshot = None
    if inspected.has_snapshot:
        snapshot = "its checksums match; to restore it into a server too, give unseal keys with --unseal-key-file"
        if unseal_keys:
            snapshot = _try_snapshot(file, where, keys, unseal_keys, found.append, progress)
    return Verified(inspected, tuple(found), unsupported, snapshot)


def restore_into(
    client: AdminClient, file: IO[bytes], where: str, keys: Keys, total: int, progress: Progress = SILENT
) -> tuple[str, ...]:
    """Restore an archive with `total` secrets into a scratch server; return the mounts whose engine that lacks.

    Nothing is written that makes the server contact another system. Raises ArchiveError.
    """
    with open_for_reading(file, keys, where) as archive:
        writer = Writer(client, archive, apply=True, trial=True)
        skip(progress.track(writer.objects(), "restoring policies, roles and mounts"))
        skip(progress.track(writer.secrets(), "restoring secrets", total))
        _skip_snapshot(archive)
    return tuple(writer.unsupported)


def _compare(
    file: IO[bytes], where: str, keys: Keys, client: AdminClient, unsupported: Sequence[str], progress: Progress
) -> Iterator[str]:
    with open_for_reading(file, keys, where) as archive:
        writer = Writer(client, archive, apply=False, trial=True, unsupported=unsupported)
        for server_object in progress.track(writer.objects(), "comparing policies, roles and mounts"):
            if isinstance(server_object, Change | Conflict):
                yield f"{server_object.path}: differs"
        yield from _compare_secrets(archive, client, progress)
        _skip_snapshot(archive)
    count = sum(len(folder.names) for folder in folders(client, writer.kv))
    if count != archive.manifest.counts.secrets:
        yield f"{count} of {archive.manifest.counts.secrets} secrets restored"


def _compare_secrets(archive: Archive, client: AdminClient, progress: Progress) -> Iterator[str]:
    key = bytes.fromhex(archive.manifest.key)

    def compare(saved: Secret) -> list[str]:
        return list(differences(saved, secret(client, saved.mount, saved.path, saved.engine, key)))

    compared = each(compare, archive.secrets())
    for some in progress.track(compared, "comparing secrets", archive.manifest.counts.secrets):
        yield from some


def _try_snapshot(
    file: IO[bytes],
    where: str,
    keys: Keys,
    unseal_keys: Sequence[str],
    report: Callable[[str], None],
    progress: Progress,
) -> str:
    """Restore the snapshot into its own scratch server, with a root token generated from its unseal keys."""
    progress.phase("starting a private server")
    with scratch_server(raft=True, keys=len(unseal_keys)) as empty:
        with open_for_reading(file, keys, where) as archive:
            skip(archive.objects())
            skip(archive.secrets())
            size = next(member.size for member in archive.manifest.members if member.name == SNAPSHOT)
            raft.put(empty, archive.snapshot(), size, force=True, progress=progress)
        unseal(empty, list(unseal_keys))
        client = empty.with_token(generate_root_token(empty, unseal_keys))
        with open_for_reading(file, keys, where) as archive:
            skip(archive.objects())
            same, younger = _compare_snapshot(archive, client, report, progress)
            _skip_snapshot(archive)
    result = f"unsealed in a separate server: {same} secrets equal the logical backup"
    return f"{result}, {younger} were written after it" if younger else result


def _compare_snapshot(
    archive: Archive, client: AdminClient, report: Callable[[str], None], progress: Progress
) -> tuple[int, int]:
    key = bytes.fromhex(archive.manifest.key)
    same = younger = 0

    def compare(saved: Secret) -> tuple[Secret, list[str]]:
        return saved, list(differences(saved, secret(client, saved.mount, saved.path, saved.engine, key)))

    compared = each(compare, archive.secrets())
    total = archive.manifest.counts.secrets
    for saved, found in progress.track(compared, "comparing the raft snapshot's secrets", total):
        if not found:
            same += 1
        elif is_newer_than(saved, archive.manifest.created):
            younger += 1
        else:
            for text in found:
                report(f"raft snapshot: {text}")
    return same, younger


def _skip_snapshot(archive: Archive) -> None:
    if archive.manifest.members[-1].name == SNAPSHOT:
        skip(archive.snapshot())
