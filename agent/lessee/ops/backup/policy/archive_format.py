"""The format of an archive: its tar headers, its manifest, and the HMAC that authenticates the manifest."""

import hmac
import tarfile
from typing import Annotated

import msgspec
from msgspec import Meta

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct


class ArchiveError(LesseeError):
    """An archive is not whole, is not ours, or does not open with this key."""

    exit_code = 65  # EX_DATAERR


FORMAT = 1
MANIFEST = "manifest.json"
HMAC = "manifest.hmac"
SERVER = "server.ndjson"
SECRETS = "kv.ndjson"
SNAPSHOT = "raft.snap"
LARGEST = 2**20
"""Bytes of a manifest."""

_HMAC_CONTEXT = b"lessee: the seal of a backup's manifest"
_Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Member(ImmutableStruct, frozen=True):
    """A member of the archive, in the order in which they follow."""

    name: str
    size: Annotated[int, Meta(ge=0)]
    sha256: _Hash


class Counts(ImmutableStruct, frozen=True):
    """How much there is."""

    mounts: int = 0
    auth: int = 0
    policies: int = 0
    roles: int = 0
    secrets: int = 0
    versions: int = 0
    """Those whose data could be read."""


class Manifest(ImmutableStruct, frozen=True):
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
    authenticated_by: str = ""
    """The public key of the identity whose secret seals this manifest; empty: nobody's."""
    gaps: tuple[str, ...] = ()
    """What the server does not give away, so that it is not in here."""


class _Format(msgspec.Struct):
    format: int


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def parse_manifest(text: bytes, *, any_format: bool = False) -> Manifest:
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


def manifest_hmac(manifest: bytes, identity: bytes) -> bytes:
    """What only who has the identity's secret can say of a manifest, and with it of all members.

    age tells nobody who made a file: whoever knows a recipient can. RFC 2104.
    """
    return hmac.digest(hmac.digest(identity, _HMAC_CONTEXT, "sha256"), manifest, "sha256").hex().encode()


def is_authentic(manifest: bytes, identity: bytes, said: bytes) -> bool:
    """Whether `said` is the seal of this identity."""
    return hmac.compare_digest(manifest_hmac(manifest, identity), said)


TAR_BLOCK = tarfile.BLOCKSIZE
TAR_END = bytes(2 * TAR_BLOCK)


def tar_header(name: str, size: int) -> bytes:
    """Of a regular file that is its owner's alone, whoever unpacks it."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    # GNU's form writes sizes beyond 8 GiB into the same block.
    return info.tobuf(tarfile.GNU_FORMAT)


def tar_padding(size: int) -> bytes:
    """What fills a member's last block."""
    return bytes(-size % TAR_BLOCK)


def read_header(block: bytes) -> tuple[str, int] | None:
    """Name and size; None is the end. Raises ArchiveError for what is no plain file."""
    if block == bytes(TAR_BLOCK):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
        raise ArchiveError("it is cut, or no tar file is in it") from None
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise ArchiveError("something that is no file is in it")
    return info.name, info.size
