"""The records of an archive: server objects and secrets, one JSON line each."""

import hmac
from typing import Any, Literal, TypeVar

import msgspec

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format import FORMAT, ArchiveError
from lessee.ops.backup.policy.archive_format_1 import upgrade_object

LONGEST_LINE = 64 * 2**20
"""Bytes. A secret with all its versions must fit, and a forged archive cannot make a reader allocate more."""

Kind = Literal["mount", "auth", "policy", "role", "user", "config", "reference"]
"""user: can be changed but not created, because its password is unknown. reference: saved only to be read."""
_T = TypeVar("_T")
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ServerObject(ImmutableStruct, frozen=True):
    """An object at a path of Vault's API, as far as Vault returns it."""

    hidden = ("data",)

    kind: Kind
    path: str
    """For a mount its mount path, with a slash at the end."""
    data: dict[str, Any]


class Version(ImmutableStruct, frozen=True):
    """A version of a secret. `data` None: it is deleted or destroyed, and so not readable."""

    hidden = ("data",)

    number: int
    """0 in KV version 1, which has no versions."""
    data: dict[str, Any] | None
    fingerprint: str = ""
    """Of path and data; empty without data."""
    created: str = ""
    deleted: str = ""
    """The deletion_time, past or future."""
    destroyed: bool = False


class Secret(ImmutableStruct, frozen=True):
    """A KV secret with all versions that the server still stores, the oldest first."""

    mount: str
    """With a slash at the end."""
    path: str
    engine: Literal[1, 2]
    current: int
    """The number of the newest version; 0 for a secret with only metadata."""
    settings: dict[str, Any]
    """max_versions, cas_required, delete_version_after, custom_metadata."""
    versions: tuple[Version, ...]

    @property
    def where(self) -> str:
        return f"{self.mount}{self.path}"

    @property
    def newest(self) -> Version | None:
        """The newest version, None for a secret with only metadata."""
        return self.versions[-1] if self.versions and self.versions[-1].number == self.current else None


def fingerprint(key: bytes, mount: str, path: str, data: dict[str, Any]) -> str:
    """A keyed hash: equal for equal data at a path, and without information for a reader who lacks the key."""
    content = msgspec.json.encode([mount, path, data], order="sorted")
    return hmac.digest(key, content, "sha256").hex()


def encode_record(record: ServerObject | Secret) -> bytes:
    """A record as a JSON line. Raises ArchiveError if it is too long to be read again."""
    text = msgspec.json.encode(record) + b"\n"
    if len(text) > LONGEST_LINE:
        where = record.where if isinstance(record, Secret) else record.path
        raise ArchiveError("too large for an archive with all its versions", where=where)
    return text


def parse_object(text: bytes, archive_format: int = FORMAT) -> ServerObject:
    """Raises ArchiveError."""
    if archive_format == 1:
        try:
            text = upgrade_object(text)
        except _ERRORS:
            raise ArchiveError("a record is malformed") from None
    return _decoded(text, ServerObject)


def parse_secret(text: bytes, key: bytes) -> Secret:
    """Raises ArchiveError, also where a fingerprint does not match its data."""
    secret = _decoded(text, Secret)
    numbers = [version.number for version in secret.versions]
    if numbers != sorted(set(numbers)) or any(number > secret.current for number in numbers):
        raise ArchiveError("the archive has its versions out of order", where=secret.where)
    for version in secret.versions:
        found = "" if version.data is None else fingerprint(key, secret.mount, secret.path, version.data)
        if found != version.fingerprint:
            raise ArchiveError(f"version {version.number} does not match its fingerprint", where=secret.where)
    return secret


def _decoded(text: bytes, kind: type[_T]) -> _T:
    try:
        record = msgspec.json.decode(text, type=kind)
    except _ERRORS:
        raise ArchiveError("a record is malformed") from None
    if any(part in {".", ".."} for part in _path(record).split("/")):
        raise ArchiveError("a record has a path with `.` or `..`")
    return record


def _path(record: object) -> str:
    return record.where if isinstance(record, Secret) else str(getattr(record, "path", ""))
