"""What an archive says of a server, a line a thing."""

import hmac
from typing import Any, Literal, TypeVar

import msgspec

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format import ArchiveError

LONGEST_LINE = 64 * 2**20
"""Bytes. A secret with all its versions must fit, and an archive that is forged can ask for no more memory."""

Kind = Literal["mount", "auth", "policy", "role", "user", "config", "kept"]
"""user: can be changed and not made, for want of its password. kept: cannot be brought back, and is told of."""
_T = TypeVar("_T")


class ServerObject(ImmutableStruct, frozen=True):
    """What stands at a path of Vault's API, as far as it gives that back."""

    hidden = ("data",)

    kind: Kind
    path: str
    """Of a mount: where it is mounted, with a slash at the end."""
    data: dict[str, Any]


class Version(ImmutableStruct, frozen=True):
    """A version of a secret. `data` None: it is deleted or destroyed, and cannot be read."""

    hidden = ("data",)

    number: int
    """0 in KV version 1, which has none."""
    data: dict[str, Any] | None
    fingerprint: str = ""
    """Of path and data; empty without data."""
    created: str = ""
    deleted: str = ""
    """The deletion_time, which may be to come."""
    destroyed: bool = False


class Secret(ImmutableStruct, frozen=True):
    """A KV secret with all versions that the server still knows of, the oldest first."""

    mount: str
    """With a slash at the end."""
    path: str
    engine: Literal[1, 2]
    current: int
    """The number of the newest version; 0 where there is metadata alone."""
    settings: dict[str, Any]
    """max_versions, cas_required, delete_version_after, custom_metadata."""
    versions: tuple[Version, ...]

    @property
    def where(self) -> str:
        return f"{self.mount}{self.path}"

    @property
    def newest(self) -> Version | None:
        """None where there is metadata alone."""
        return self.versions[-1] if self.versions and self.versions[-1].number == self.current else None


def fingerprint(key: bytes, mount: str, path: str, data: dict[str, Any]) -> str:
    """Tells whether two values at a path are equal, and nothing of them to who lacks the key."""
    said = msgspec.json.encode([mount, path, data], order="sorted")
    return hmac.digest(key, said, "sha256").hex()


def encode_record(record: ServerObject | Secret) -> bytes:
    """A record as a line of JSON. Raises ArchiveError where it is too long to be read again."""
    text = msgspec.json.encode(record) + b"\n"
    if len(text) > LONGEST_LINE:
        where = record.where if isinstance(record, Secret) else record.path
        raise ArchiveError("it is too large for an archive with all its versions", where=where)
    return text


def parse_object(text: bytes) -> ServerObject:
    """Raises ArchiveError."""
    return _decoded(text, ServerObject)


def parse_secret(text: bytes, key: bytes) -> Secret:
    """Raises ArchiveError, also where a fingerprint is not that of its data."""
    secret = _decoded(text, Secret)
    numbers = [version.number for version in secret.versions]
    if numbers != sorted(set(numbers)) or any(number > secret.current for number in numbers):
        raise ArchiveError("its versions are out of order in the archive", where=secret.where)
    for version in secret.versions:
        found = "" if version.data is None else fingerprint(key, secret.mount, secret.path, version.data)
        if found != version.fingerprint:
            raise ArchiveError(f"version {version.number} is not what was saved", where=secret.where)
    return secret


def _decoded(text: bytes, kind: type[_T]) -> _T:
    try:
        record = msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ArchiveError("a line of it makes no sense") from None
    if any(part in {".", ".."} for part in _path(record).split("/")):
        raise ArchiveError("it names a path that leads elsewhere")
    return record


def _path(record: object) -> str:
    return record.where if isinstance(record, Secret) else str(getattr(record, "path", ""))
