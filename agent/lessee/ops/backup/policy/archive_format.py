"""The format of an archive: its tar headers, its manifest, and the HMAC that authenticates the manifest."""

import hmac
import tarfile
from typing import Annotated

import msgspec
from msgspec import Meta

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format_1 import upgrade_manifest


class ArchiveError(LesseeError):
    """An archive is incomplete, altered, not lessee's, or cannot be decrypted with this key."""

    exit_code = 65  # EX_DATAERR


FORMAT = 2
"""Format 1 is that of lessee 0.1.0: see `archive_format_1`."""
MANIFEST = "manifest.json"
HMAC = "manifest.hmac"
SERVER = "server.ndjson"
SECRETS = "kv.ndjson"
SNAPSHOT = "raft.snap"
LARGEST = 2**20
"""The size limit of a manifest in bytes."""

_HMAC_CONTEXT = b"lessee: the seal of a backup's manifest"
_Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Member(ImmutableStruct, frozen=True):
    """A member of the archive."""

    name: str
    size: Annotated[int, Meta(ge=0)]
    sha256: _Hash


class Counts(ImmutableStruct, frozen=True):
    """The numbers of saved objects."""

    mounts: int = 0
    auth: int = 0
    policies: int = 0
    roles: int = 0
    secrets: int = 0
    versions: int = 0
    """The readable versions."""


class Manifest(ImmutableStruct, frozen=True):
    """The first member of an archive: its server, and the sizes and hashes of the members that follow."""

    hidden = ("key",)

    format: int
    made_by: str
    created: str
    """When the backup started, in RFC 3339."""
    cluster_id: str
    cluster_name: str
    server_version: str
    counts: Counts
    members: tuple[Member, ...]
    key: _Hash
    """The key of the fingerprints, in hex."""
    namespace: str = ""
    """Empty: the root namespace."""
    authenticated_by: str = ""
    """The public key of the identity whose secret authenticates this manifest; empty without an HMAC."""
    gaps: tuple[str, ...] = ()
    """What the server does not return, and the archive therefore lacks."""
    pinned: bool = False
    """Whether retention leaves the archive, whatever its age."""


class _Format(msgspec.Struct):
    format: int


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def parse_manifest(text: bytes, *, any_format: bool = False) -> Manifest:
    """Raises ArchiveError. `any_format`: read the manifest of a later lessee as if it were of this one."""
    try:
        header = msgspec.json.decode(text, type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ArchiveError("the manifest is malformed") from None
    if header.format < 1 or (header.format > FORMAT and not any_format):
        todo = "use the version of lessee that saved it" if header.format > FORMAT else ""
        raise ArchiveError(f"the archive has format {header.format}, and this lessee reads {FORMAT}", todo=todo)
    try:
        manifest = msgspec.json.decode(upgrade_manifest(text) if header.format == 1 else text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ArchiveError("the manifest is malformed") from None
    names = [member.name for member in manifest.members]
    if names not in ([SERVER, SECRETS], [SERVER, SECRETS, SNAPSHOT]):
        raise ArchiveError("the manifest names unexpected members")
    return manifest


def manifest_hmac(manifest: bytes, identity: bytes) -> bytes:
    """An HMAC (RFC 2104) of the manifest, and with it of all members, that needs the identity's secret.

    age does not authenticate the sender: any program that knows a recipient can encrypt a file to it.
    """
    return hmac.digest(hmac.digest(identity, _HMAC_CONTEXT, "sha256"), manifest, "sha256").hex().encode()


def is_authentic(manifest: bytes, identity: bytes, digest: bytes) -> bool:
    """Whether `digest` is the manifest's HMAC with this identity."""
    return hmac.compare_digest(manifest_hmac(manifest, identity), digest)


TAR_BLOCK = tarfile.BLOCKSIZE
TAR_END = bytes(2 * TAR_BLOCK)


def tar_header(name: str, size: int) -> bytes:
    """The header of a regular file of mode 0600."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    # The GNU format stores sizes beyond 8 GiB in the same block.
    return info.tobuf(tarfile.GNU_FORMAT)


def tar_padding(size: int) -> bytes:
    """The bytes that fill a member's last block."""
    return bytes(-size % TAR_BLOCK)


def read_header(block: bytes) -> tuple[str, int] | None:
    """A member's name and size; None at the end of the archive. Raises ArchiveError unless it is a regular file."""
    if block == bytes(TAR_BLOCK):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
        raise ArchiveError("it is truncated, or contains no tar file") from None
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise ArchiveError("it contains a member that is not a regular file")
    return info.name, info.size
