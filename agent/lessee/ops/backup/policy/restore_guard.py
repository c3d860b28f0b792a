"""Why an archive is not to be restored into a server, unless somebody insists."""

import re
from collections.abc import Iterator

from lessee.core.immutable import Record
from lessee.ops.backup.policy.manifest import Manifest


class Server(Record, frozen=True):
    """What a server says of itself, to anybody."""

    cluster_id: str
    cluster_name: str
    version: str
    storage: str
    """Such as raft, or inmem."""
    namespace: str = ""
    """That is asked for; empty: its root."""


def objections(manifest: Manifest, server: Server, *, sealed: bool, seal_expected: bool) -> Iterator[str]:
    """Each is a reason. `sealed`: the archive is known to be of who has our key."""
    if manifest.cluster_id != server.cluster_id:
        yield f"it is of another cluster, {manifest.cluster_name or manifest.cluster_id}"
    if manifest.namespace != server.namespace:
        yield f"it is of the namespace {manifest.namespace or 'root'}, and you ask for {server.namespace or 'root'}"
    if _numbers(manifest.server_version) > _numbers(server.version):
        yield f"it is of a newer server, {manifest.server_version}, than this one, {server.version}"
    if seal_expected and not sealed:
        yield "it was not sealed with your key, so that anybody may have made it who knows the public one"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])
