"""Entries of the audit trail: each is an action, chained to the previous entry and signed, on one line of JSON."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from lessee.core.immutable import ImmutableStruct, replace

FIRST_HASH = "0" * 64
"""The previous hash of the first entry."""
MAX_TEXT = 500
"""Characters of a text in an entry."""
REPAIRED = "audit trail repaired"
"""The action of a writer that removed the torn entry of a killed writer."""
ALTERED = "audit trail altered"
"""The action of a writer that found a change which no writer makes."""

Kind = Literal["agent", "rotator", "monitor", "operator"]
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


class Head(ImmutableStruct, frozen=True):
    """The end of the audit trail: its last entry, the file that contains it, and that file's size in bytes.

    A head with `n` 0 exists before the first entry, so a missing head means that it was removed.
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
    """The entry, or None if the line is not exactly as lessee encodes one."""
    try:
        record = msgspec.json.decode(line, type=Entry)
        return record if encode_line(record) == line else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
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
    start = f'{{"n":{n},"previous_hash":"{previous_hash}",'.encode()
    return text[: len(start)] == start[: len(text)] and not text.endswith(b"\n")


def truncate(text: str) -> str:
    """A text of at most MAX_TEXT characters that can be encoded."""
    sound = text.encode(errors="replace").decode()
    return sound if len(sound) <= MAX_TEXT else f"{sound[: MAX_TEXT - 1]}…"


def _encode(record: Entry | Head) -> bytes:
    return msgspec.json.encode(record, order="deterministic")
