"""From a server to the members of an archive."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from lessee import __version__
from lessee.core.errors import RefusedError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup import raft, server
from lessee.ops.backup.policy.manifest import FORMAT, SECRETS, SERVER, SNAPSHOT, Counts, Manifest
from lessee.ops.backup.policy.objects import gaps
from lessee.ops.backup.policy.records import Secret, Thing, line
from lessee.ops.backup.secrets import secrets
from lessee.ops.backup.spool import Spool
from lessee.vault.admin import AdminClient


class Gathered(ImmutableStruct, frozen=True):
    """What an archive is to hold. `missed`: why there is no raft snapshot, where the server has raft."""

    manifest: Manifest
    spools: tuple[Spool, ...]
    missed: str


@contextmanager
def gathered(client: AdminClient, created: datetime, folder: Path | None, namespace: str | None) -> Iterator[Gathered]:
    """`folder`: for temporary files. `namespace`: None is the server's root, whose is the raft snapshot.

    Raises RefusedError, VaultUnreachableError or WriteError.
    """
    described = server.describe(client, namespace)
    key = os.urandom(32)
    with ExitStack() as stack:

        def spool(name: str) -> Spool:
            made = Spool(name, folder)
            stack.callback(made.close)
            return made

        snapshot, missed = None, ""
        if described.storage == "raft" and not described.namespace:
            snapshot, missed = _snapshot(client, spool)
        all_things = tuple(server.things(client))
        things = spool(SERVER)
        for thing in all_things:
            things.write(line(thing))
        kept = spool(SECRETS)
        counts = counted(all_things, *_write(secrets(client, _kv(all_things), key), kept))
        spools = (things, kept, *((snapshot,) if snapshot is not None else ()))
        manifest = Manifest(
            format=FORMAT,
            made_by=f"lessee {__version__}",
            created=created.isoformat(timespec="seconds"),
            cluster_id=described.cluster_id,
            cluster_name=described.cluster_name,
            server_version=described.version,
            namespace=described.namespace,
            counts=counts,
            members=tuple(one.member for one in spools),
            key=key.hex(),
            gaps=gaps(all_things, server.namespaces(client), entities=server.has_entities(client)),
        )
        yield Gathered(manifest, spools, missed)


def _kv(things: Iterable[Thing]) -> dict[str, int]:
    """The mounts of KV, and which version each has."""
    return {
        thing.path: 2 if server.is_versioned(thing.data) else 1
        for thing in things
        if thing.kind == "mount" and thing.data["type"] in {"kv", "generic"}
    }


def _snapshot(client: AdminClient, spool: Callable[[str], Spool]) -> tuple[Spool | None, str]:
    made = spool(SNAPSHOT)
    try:
        raft.take(client, made.write)
    except RefusedError as exc:
        return None, str(exc)
    return made, ""


def _write(found: Iterable[Secret], spool: Spool) -> tuple[int, int]:
    count = versions = 0
    for secret in found:
        spool.write(line(secret))
        count += 1
        versions += sum(version.data is not None for version in secret.versions)
    return count, versions


def counted(things: Iterable[Thing], count: int, versions: int) -> Counts:
    """How much there is."""
    kinds = [thing.kind for thing in things]
    return Counts(
        mounts=kinds.count("mount"),
        auth=kinds.count("auth"),
        policies=kinds.count("policy"),
        roles=kinds.count("role") + kinds.count("user"),
        secrets=count,
        versions=versions,
    )
