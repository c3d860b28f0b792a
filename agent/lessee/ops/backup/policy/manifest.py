"""The first member of an archive: of what server it is, what follows, and how that is known to be whole."""

import hmac
from typing import Annotated

import msgspec
from msgspec import Meta

from lessee.core.immutable import Record
from lessee.ops.backup.policy.problems import ArchiveError

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = "manifest.hmac"
SERVER = "server.ndjson"
SECRETS = "kv.ndjson"
SNAPSHOT = "raft.snap"
LARGEST = 2**20
"""Bytes of a manifest."""

_SEALS = b"lessee: the seal of a backup's manifest"
_Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Member(Record, frozen=True):
    """A member of the archive, in the order in which they follow."""

    name: str
    size: Annotated[int, Meta(ge=0)]
    sha256: _Hash


class Counts(Record, frozen=True):
    """How much there is."""

    mounts: int = 0
    auth: int = 0
    policies: int = 0
    roles: int = 0
    secrets: int = 0
    versions: int = 0
    """Those whose data could be read."""


class Manifest(Record, frozen=True):
    """What an archive is."""

    hidden = ("key",)

    format: int
    made_by: str
    created: str
    """RFC 3339, when the reading began."""
    cluster_id: str
    cluster_name: str
    server_version: str
    counts: Counts
    members: tuple[Member, ...]
    key: _Hash
    """Of the fingerprints, in hex."""
    namespace: str = ""
    """Empty: the server's root."""
    sealed_by: str = ""
    """The public key of the identity whose secret seals this manifest; empty: nobody's."""
    gaps: tuple[str, ...] = ()
    """What the server does not give away, so that it is not in here."""


class _Format(msgspec.Struct):
    format: int


def encoded(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def manifest_of(text: bytes, *, any_format: bool = False) -> Manifest:
    """Raises ArchiveError. `any_format`: one of a later lessee is read as if it were of this one."""
    try:
        said = msgspec.json.decode(text, type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ArchiveError("its manifest makes no sense") from None
    if said.format < 1 or (said.format > FORMAT and not any_format):
        todo = "open it with the lessee that made it" if said.format > FORMAT else ""
        raise ArchiveError(f"it has format {said.format}, and this lessee knows {FORMAT}", todo=todo)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ArchiveError("its manifest makes no sense") from None
    names = [member.name for member in manifest.members]
    if names not in ([SERVER, SECRETS], [SERVER, SECRETS, SNAPSHOT]):
        raise ArchiveError("its manifest names other members than an archive has")
    return manifest


def seal(manifest: bytes, identity: bytes) -> bytes:
    """What only who has the identity's secret can say of a manifest, and with it of all members.

    age tells nobody who made a file: whoever knows a recipient can. RFC 2104.
    """
    return hmac.digest(hmac.digest(identity, _SEALS, "sha256"), manifest, "sha256").hex().encode()


def is_sealed(manifest: bytes, identity: bytes, said: bytes) -> bool:
    """Whether `said` is the seal of this identity."""
    return hmac.compare_digest(seal(manifest, identity), said)
