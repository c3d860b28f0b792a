"""An entry of the trail: an act, chained to the entry before it, and signed; one line of JSON each."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from lessee.core.immutable import Record, replace

START = "0" * 64
"""What the first entry is chained to."""
LONGEST = 500
"""Characters of a text in it."""
MENDED = "trail mended"
"""The act of a writer that found what one that was ended had left."""
ALTERED = "trail found altered"
"""The act of a writer that found what no writer leaves."""

Kind = Literal["agent", "rotator", "monitor", "operator"]
Outcome = Literal["begun", "done", "failed"]


class Actor(Record, frozen=True):
    """Who acts, and on which machine. `user`: the name of the uid there, or empty."""

    kind: Kind
    uid: int
    user: str
    host: str


class Act(Record, frozen=True):
    """What was done. `at` in RFC 3339; `subject` tells of what, and never a value."""

    at: str
    actor: Actor
    environment: str | None
    act: str
    subject: Mapping[str, str | int]
    outcome: Outcome


class Entry(Record, frozen=True):
    """An act in its place. `n` counts from 1; `before` is the SHA-256 of the line before, without its newline.

    `head`: the entry at which the head was when this was written. Those that are written at once share it, and so an
    older head that is put back does not pass for one that a writer did not come to write.
    """

    n: int
    before: str
    head: int
    act: Act
    signature: str = ""
    """Of all else, in base64."""


class Head(Record, frozen=True):
    """The end of the trail: its last entry, and how long the file is in which that stands, in bytes.

    There is one before the first entry, of `n` 0: so where there is none, somebody took it away.
    """

    n: int = 0
    hash: str = START
    file: str = ""
    size: int = 0
    signature: str = ""


def signed_part(made: Entry | Head) -> bytes:
    """What its signature is of: a head's is none of an entry."""
    return f"lessee {type(made).__name__.lower()} 1\n".encode() + _encode(replace(made, signature=""))


def line_of(made: Entry | Head) -> bytes:
    """As it stands in its file. There is one way to write it, so that not a byte can be changed."""
    return _encode(made) + b"\n"


def hash_of(line: bytes) -> str:
    """What the next entry is chained to."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def entry_of(line: bytes) -> Entry | None:
    """None where it is not exactly as lessee writes an entry."""
    try:
        made = msgspec.json.decode(line, type=Entry)
        return made if line_of(made) == line else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def head_of(line: bytes) -> Head | None:
    """As above."""
    try:
        made = msgspec.json.decode(line, type=Head)
        return made if line_of(made) == line else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_begun(text: bytes, n: int, before: str) -> bool:
    """Whether it may be what a writer that was ended left of this entry."""
    begins = f'{{"n":{n},"before":"{before}",'.encode()
    return text[: len(begins)] == begins[: len(text)] and not text.endswith(b"\n")


def cut(text: str) -> str:
    """A text as it may stand in an entry."""
    sound = text.encode(errors="replace").decode()
    return sound if len(sound) <= LONGEST else f"{sound[: LONGEST - 1]}…"


def _encode(made: Entry | Head) -> bytes:
    return msgspec.json.encode(made, order="deterministic")
