"""Compares an archive with the server it is restored to, and restored secrets with the saved ones."""

import re
from collections.abc import Iterator

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format import Manifest
from lessee.ops.backup.policy.records import Secret


class Server(ImmutableStruct, frozen=True):
    """A server's public description of itself."""

    cluster_id: str
    cluster_name: str
    version: str
    storage: str
    """Such as raft, or inmem."""
    namespace: str = ""
    """The requested namespace; empty: the root namespace."""


def objections(
    manifest: Manifest, server: Server, *, authenticated: bool, authentication_expected: bool
) -> Iterator[str]:
    """Reasons not to restore an archive into a server without --force.

    `authenticated`: the archive's HMAC shows that its maker had the key.
    """
    if manifest.cluster_id != server.cluster_id:
        yield f"the archive is of another cluster, {manifest.cluster_name or manifest.cluster_id}"
    if manifest.namespace != server.namespace:
        names = manifest.namespace or "root", server.namespace or "root"
        yield f"the archive is of the namespace {names[0]}, and the configuration has {names[1]}"
    if _numbers(manifest.server_version) > _numbers(server.version):
        yield f"the archive is of a newer server version, {manifest.server_version}, than this server, {server.version}"
    if authentication_expected and not authenticated:
        yield "the archive is not authenticated with your key: any client that knows its public key can have made it"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])


def differences(saved: Secret, found: Secret | None) -> Iterator[str]:
    """The differences between a saved and a restored secret as text, without values."""
    if found is None:
        yield f"{saved.where}: missing"
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
    """Whether it was written or deleted after `moment`, by the server's clock in whole seconds."""
    marks = (mark[:19] for version in secret.versions for mark in (version.created, version.deleted))
    return any(mark >= moment[:19] for mark in marks)
