"""The records of the state store as JSON, each with the version of its format."""

import hashlib
from contextlib import suppress
from typing import TypeVar

import msgspec

from lessee.config import Login
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.tokens import Token
from lessee.publishing.app_record_format_1 import AppRecord1, format_1_fields, upgrade_app
from lessee.publishing.publication_record import AppRecord

FORMAT = 2
"""Format 1 is that of lessee 0.1.0, whose records do not name it: see `state_format_1`."""

_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Format(msgspec.Struct):
    format: int = 1


class StoredIdentity(ImmutableStruct, frozen=True):
    """The `vault` block of an identity, as JSON."""

    hidden = ("block",)

    identity: str
    block: bytes
    format: int = 1

    @property
    def file(self) -> str:
        """The name of its file."""
        return file_name("identity", self.identity)


class StoredToken(ImmutableStruct, frozen=True):
    """A token of an identity, with its value."""

    hidden = ("value",)

    identity: str
    boot: str
    token: Token
    value: str
    format: int = 1

    @property
    def file(self) -> str:
        """The name of its file."""
        return file_name("token", self.identity, self.token.id)


class StoredLease(ImmutableStruct, frozen=True):
    """A lease of an identity."""

    identity: str
    boot: str
    lease: Lease
    format: int = 1

    @property
    def file(self) -> str:
        """The name of its file."""
        return file_name("lease", self.identity, self.lease.id)


class StoredDirectory(ImmutableStruct, frozen=True):
    """A directory in which the agent published files of an app."""

    path: str
    app: str
    format: int = 1

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"directory-{hashlib.sha256(self.path.encode(errors='surrogateescape')).hexdigest()[:32]}"


class _StoredApp(AppRecord1, frozen=True, kw_only=True):
    """The record of an app, and what lessee 0.1.0 reads of it, so that it notifies the app after a downgrade."""

    format: int
    record: AppRecord


Stored = TypeVar("Stored", StoredIdentity, StoredToken, StoredLease, StoredDirectory)


def key_of(login: Login) -> str:
    """The key of an identity. Another address or login is another identity, which never gets the token of this one."""
    return hashlib.sha256(msgspec.json.encode(login)).hexdigest()


def file_name(kind: str, identity: str, *ids: str) -> str:
    """The name of a record's file, or with an empty id how the names of all records of this kind and identity begin."""
    # Each name contains the identity: two of them may read the same static role, whose lease always has the same id.
    return "-".join((kind, identity[:16], *ids))


def decode(content: bytes, kind: type[Stored]) -> Stored | None:
    """The record; None if it is damaged or of another format."""
    with suppress(*_ERRORS):
        stored = msgspec.json.decode(content, type=kind)
        return stored if stored.format == FORMAT else None
    return None


def encode_app(record: AppRecord) -> bytes:
    """The record of an app as JSON."""
    return msgspec.json.encode(_StoredApp(format=FORMAT, record=record, **format_1_fields(record)))


def decode_app(content: bytes) -> AppRecord | None:
    """The record of an app, also of format 1; None if it is damaged or of a newer format."""
    with suppress(*_ERRORS):
        match format_of(content):
            case 1:
                return upgrade_app(content)
            case 2:
                return msgspec.json.decode(content, type=_StoredApp).record
            case _:
                return None
    return None


def format_of(content: bytes) -> int | None:
    """The version of a record's format; None if it is damaged."""
    with suppress(*_ERRORS):
        return msgspec.json.decode(content, type=_Format).format
    return None


def is_newer(content: bytes) -> bool:
    """Whether a newer version of lessee wrote the record, in a format that this one does not read."""
    return (format_of(content) or 0) > FORMAT


def why_ignored(content: bytes) -> str:
    """Why a record is not used, for the log."""
    if is_newer(content):
        return f"a newer version of lessee wrote it, in format {format_of(content)}; this one reads {FORMAT}"
    return "it is damaged, or not this agent's"
