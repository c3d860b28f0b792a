"""Reads a server into the members of an archive."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from lessee import __version__
from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup import raft, server
from lessee.ops.backup.policy.archive_format import FORMAT, SECRETS, SERVER, SNAPSHOT, Counts, Manifest
from lessee.ops.backup.policy.objects import gaps
from lessee.ops.backup.policy.records import Secret, ServerObject, encode_record
from lessee.ops.backup.secret_reader import secrets
from lessee.ops.backup.temporary_files import EncryptedTemporaryFile
from lessee.vault.admin import AdminClient


class Collected(ImmutableStruct, frozen=True):
    """The future contents of an archive. `snapshot_error`: why a server with raft storage gave no snapshot."""

    manifest: Manifest
    contents: tuple[EncryptedTemporaryFile, ...]
    snapshot_error: str


@contextmanager
def collect(
    client: AdminClient, created: datetime, folder: Path | None, namespace: str | None, progress: Progress = SILENT
) -> Iterator[Collected]:
    """Read a server. `folder`: for temporary files. `namespace`: None is the root, which has the raft snapshot.

    Raises DeniedError, VaultUnreachableError or WriteError.
    """
    described = server.describe(client, namespace)
    key = os.urandom(32)
    with ExitStack() as stack:

        def new_file(name: str) -> EncryptedTemporaryFile:
            made = EncryptedTemporaryFile(name, folder)
            stack.callback(made.close)
            return made

        snapshot, snapshot_error = None, ""
        if described.storage == "raft" and not described.namespace:
            snapshot, snapshot_error = _snapshot(client, new_file, progress)
        all_objects = tuple(progress.track(server.objects(client), "saving policies, roles and mounts"))
        objects = new_file(SERVER)
        for server_object in all_objects:
            objects.write(encode_record(server_object))
        secrets_file = new_file(SECRETS)
        found = secrets(client, _kv(all_objects), key, progress)
        counts = count_records(all_objects, *_write(found, secrets_file))
        contents = (objects, secrets_file, *((snapshot,) if snapshot is not None else ()))
        manifest = Manifest(
            format=FORMAT,
            made_by=f"lessee {__version__}",
            created=created.isoformat(timespec="seconds"),
            cluster_id=described.cluster_id,
            cluster_name=described.cluster_name,
            server_version=described.version,
            namespace=described.namespace,
            counts=counts,
            members=tuple(one.member for one in contents),
            key=key.hex(),
            gaps=gaps(all_objects, server.namespaces(client), entities=server.has_entities(client)),
        )
        yield Collected(manifest, contents, snapshot_error)


def _kv(objects: Iterable[ServerObject]) -> dict[str, int]:
    """The KV mounts and their versions."""
    return {
        server_object.path: 2 if server.is_versioned(server_object.data) else 1
        for server_object in objects
        if server_object.kind == "mount" and server_object.data["type"] in {"kv", "generic"}
    }


def _snapshot(
    client: AdminClient, new_file: Callable[[str], EncryptedTemporaryFile], progress: Progress
) -> tuple[EncryptedTemporaryFile | None, str]:
    made = new_file(SNAPSHOT)
    try:
        raft.take(client, made.write, progress)
    except DeniedError as exc:
        return None, str(exc)
    return made, ""


def _write(found: Iterable[Secret], new_file: EncryptedTemporaryFile) -> tuple[int, int]:
    count = versions = 0
    for secret in found:
        new_file.write(encode_record(secret))
        count += 1
        versions += sum(version.data is not None for version in secret.versions)
    return count, versions


def count_records(objects: Iterable[ServerObject], count: int, versions: int) -> Counts:
    """The numbers of records."""
    kinds = [server_object.kind for server_object in objects]
    return Counts(
        mounts=kinds.count("mount"),
        auth=kinds.count("auth"),
        policies=kinds.count("policy"),
        roles=kinds.count("role") + kinds.count("user"),
        secrets=count,
        versions=versions,
    )
