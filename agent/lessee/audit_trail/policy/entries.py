"""Entries of the audit trail: each is an action, chained to the previous entry and signed, on one line of JSON.

Each entry names the version of its format. Entries of both formats are one chain, as a writer of each version appends
to what the other one wrote.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from lessee.core.immutable import ImmutableStruct, replace

FORMAT = 2
"""Format 1 is that of lessee 0.1.0, whose entries do not name it: see `entry_format_1`."""
FIRST_HASH = "0" * 64
"""The previous hash of the first entry."""
MAX_TEXT = 500
"""Characters of a text in an entry."""
REPAIRED = "audit trail repaired"
"""The action of a writer that removed the torn entry of a killed writer."""
ALTERED = "audit trail altered"
"""The action of a writer that found a change which no writer makes."""

Kind = Literal["agent", "rotator", "monitor", "issuer", "operator"]
Outcome = Literal["started", "done", "failed"]


class Actor(ImmutableStruct, frozen=True):
    """The program that acts, its user and machine. `user`: the name of the uid on it, or empty."""

    kind: Kind
    uid: int
    user: str
    host: str


class Action(ImmutableStruct, frozen=True):
    """An action. `at` in RFC 3339; `subject` says what it was applied to, and never contains a secret."""

    at: str
    actor: Actor
    environment: str | None
    name: str
    subject: Mapping[str, str | int]
    outcome: Outcome


class Entry(ImmutableStruct, frozen=True):
    """An action in the chain. `n` counts from 1; `previous_hash`: SHA-256 of the previous line, without its newline.

    `head`: the number of the head's entry when this one was written. Entries written in one step share it. So an older
    head that was restored differs from a head that a killed writer could not update.
    """

    n: int
    previous_hash: str
    head: int
    action: Action
    signature: str = ""
    """The signature of the other fields, in base64."""
    format: int = FORMAT


_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


class _Format(msgspec.Struct):
    format: int = 1


class Head(ImmutableStruct, frozen=True):
    """The end of the audit trail: its last entry, the file that contains it, and that file's size in bytes.

    A head with `n` 0 exists before the first entry, so a missing head means that it was removed. It has the format of
    0.1.0, which therefore finds the end of what this version wrote.
    """

    n: int = 0
    hash: str = FIRST_HASH
    file: str = ""
    size: int = 0
    signature: str = ""


def signed_part(record: Entry | Head) -> bytes:
    """The signed bytes. They begin with the type, so the signature of an entry is not valid for a head."""
    return f"lessee {type(record).__name__.lower()} 1\n".encode() + _encode(replace(record, signature=""))


def encode_line(record: Entry | Head) -> bytes:
    """The line in the file. There is only one encoding, so a change of any byte is detected."""
    return _encode(record) + b"\n"


def hash_line(line: bytes) -> str:
    """The hash that the next entry contains."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def decode_entry(line: bytes) -> Entry | None:
    """The entry, also of format 1, or None if the line is not exactly as lessee encodes one."""
    with suppress(*_ERRORS):
        record = msgspec.json.decode(line, type=Entry)
        return record if record.format == FORMAT and encode_line(record) == line else None
    from lessee.audit_trail.policy.entry_format_1 import Entry1, upgrade  # noqa: PLC0415  # It imports this module.

    with suppress(*_ERRORS):
        record = upgrade(msgspec.json.decode(line, type=Entry1))
        return record if encode_line(record) == line else None
    return None


def newer_format(line: bytes) -> int | None:
    """The format of an entry that a newer version of lessee wrote; None for any other line."""
    with suppress(*_ERRORS):
        found = msgspec.json.decode(line, type=_Format).format
        return found if found > FORMAT else None
    return None


def decode_head(line: bytes) -> Head | None:
    """The head, or None if the text is not exactly as lessee encodes one."""
    try:
        record = msgspec.json.decode(line, type=Head)
        return record if encode_line(record) == line else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_torn_entry(text: bytes, n: int, previous_hash: str) -> bool:
    """Whether the text can be the beginning of this entry, left by a killed writer."""
    starts = (f'{{"n":{n},"{name}":"{previous_hash}",'.encode() for name in ("previous_hash", "before"))
    return not text.endswith(b"\n") and any(text[: len(start)] == start[: len(text)] for start in starts)


def truncate(text: str) -> str:
    """A text of at most MAX_TEXT characters that can be encoded."""
    sound = text.encode(errors="replace").decode()
    return sound if len(sound) <= MAX_TEXT else f"{sound[: MAX_TEXT - 1]}…"


def _encode(record: Entry | Head) -> bytes:
    written: object = record
    if isinstance(record, Entry) and record.format == 1:
        from lessee.audit_trail.policy.entry_format_1 import as_written  # noqa: PLC0415  # As above.

        written = as_written(record)
    return msgspec.json.encode(written, order="deterministic")
