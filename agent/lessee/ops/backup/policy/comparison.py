"""Compares an archive with the server it is restored to, and restored secrets with the saved ones."""

import re
from collections.abc import Iterator

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format import Manifest
from lessee.ops.backup.policy.records import Secret


class Server(ImmutableStruct, frozen=True):
    """What a server says of itself, to anybody."""

    cluster_id: str
    cluster_name: str
    version: str
    storage: str
    """Such as raft, or inmem."""
    namespace: str = ""
    """That is asked for; empty: its root."""


def objections(
    manifest: Manifest, server: Server, *, authenticated: bool, authentication_expected: bool
) -> Iterator[str]:
    """Each is a reason. `sealed`: the archive is known to be of who has our key."""
    if manifest.cluster_id != server.cluster_id:
        yield f"it is of another cluster, {manifest.cluster_name or manifest.cluster_id}"
    if manifest.namespace != server.namespace:
        yield f"it is of the namespace {manifest.namespace or 'root'}, and you ask for {server.namespace or 'root'}"
    if _numbers(manifest.server_version) > _numbers(server.version):
        yield f"it is of a newer server, {manifest.server_version}, than this one, {server.version}"
    if authentication_expected and not authenticated:
        yield "it was not sealed with your key, so that anybody may have made it who knows the public one"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])


def differences(saved: Secret, found: Secret | None) -> Iterator[str]:
    """In words without a value; none where every version is there, and those that were deleted are not."""
    if found is None:
        yield f"{saved.where}: it is not there"
        return
    if found.current != saved.current:
        yield f"{saved.where}: its newest version is {found.current}, not {saved.current}"
    theirs = {version.number: version for version in found.versions}
    for version in saved.versions:
        other = theirs.get(version.number)
        if (other.fingerprint if other is not None else "") != version.fingerprint:
            yield f"{saved.where}: version {version.number} differs"
    for name in sorted(saved.settings.keys() | found.settings.keys()):
        if (saved.settings.get(name) or None) != (found.settings.get(name) or None):
            yield f"{saved.where}: its {name} differs"


def is_newer_than(secret: Secret, moment: str) -> bool:
    """Whether it was written or deleted after a moment, by the server's clock and in whole seconds."""
    marks = (mark[:19] for version in secret.versions for mark in (version.created, version.deleted))
    return any(mark >= moment[:19] for mark in marks)
