"""What is kept of a rotation while it is under way, and of a target between rotations."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
from msgspec import field

from lessee.core.record import Record, replace

Fields = Mapping[str, Any]
"""Keys of a secret with their values."""
FOLDER = "lessee/rotation/"
"""Below an environment's prefix: a journal each target."""
HISTORY = 10
"""So many rotations, and so many measured times, are remembered."""


class Step(Enum):
    """How far the rotation of a target has come."""

    IDLE = "idle"
    """None is open."""
    CREATING = "creating"
    """The system is about to be asked for a new value, which it shows once."""
    CREATED = "created"
    """The new value is durable; the system may know it or not, and the secret may have it or not."""
    PUBLISHED = "published"
    """The apps can read it; the old one is still valid."""
    KEEPING = "keeping"
    """The old one is of no use any more, but could be brought back until `keep_until`."""


class Past(Record, frozen=True):
    """A rotation that was published: its id, when, in seconds since 1970, and the secret's version."""

    id: str
    at: float
    version: int


class Journal(Record, frozen=True):
    """One target's. Times are in seconds since 1970.

    Whoever has written it last may act until `held_until`; `fence` grows with every holder.
    """

    hidden = ("current", "pending")

    step: Step = Step.IDLE
    id: str = ""
    fence: int = 0
    holder: str = ""
    held_until: float = 0.0
    started_at: float = 0.0
    announced: bool = True
    """Whether its readers could be known before: agents confirm what says that it is rotated, and no other secret."""
    current: Fields = field(default_factory=dict)
    """What stood in the secret's keys when it began."""
    pending: Fields = field(default_factory=dict)
    """What shall stand there."""
    handle: str = ""
    """What the system calls the published credential, where that is none of its fields."""
    pending_handle: str = ""
    before: tuple[str, ...] = ()
    """What the system had of the kind before it was asked for a new one."""
    published_version: int = 0
    published_at: float = 0.0
    confirmed_at: float = 0.0
    keep_until: float = 0.0
    count: int = 0
    rotated_at: float = 0.0
    """When the last one that was published was."""
    failures: int = 0
    """In a row."""
    error: str = ""
    failed_at: float = 0.0
    missing: tuple[str, ...] = ()
    """The consumers that the last retirement did not wait for any longer."""
    propagations: tuple[float, ...] = ()
    """How long it took from the start to the last confirmation, the newest last."""
    history: tuple[Past, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a rotation has begun that must be brought to its end."""
        return self.step in {Step.CREATING, Step.CREATED, Step.PUBLISHED}


def read(fields: Fields) -> Journal:
    """What was kept. Raises ValueError where it is no journal."""
    if not fields:
        return Journal()
    try:
        return msgspec.convert(fields, _Kept).journal()
    except (msgspec.ValidationError, ValueError):
        raise ValueError("it is no journal of lessee's") from None


def written(journal: Journal) -> Fields:
    """As it is kept."""
    return dict(msgspec.to_builtins(journal))


def holds(fields: Fields, wanted: Fields) -> bool:
    """Whether these stand there; nothing is no credential."""
    return bool(wanted) and all(fields.get(key) == value for key, value in wanted.items())


def closed(journal: Journal, *, handle: str) -> Journal:
    """Nothing is under way any more, and no value is kept. `handle`: of what is published now."""
    return replace(
        journal,
        step=Step.IDLE,
        id="",
        holder="",
        held_until=0.0,
        current={},
        pending={},
        handle=handle,
        pending_handle="",
        before=(),
        keep_until=0.0,
        failures=0,
        error="",
        failed_at=0.0,
    )


class _Kept(msgspec.Struct):
    """Numbers come back from Vault as they like: 3 for 3.0."""

    step: Step
    id: str
    fence: int
    holder: str
    held_until: float
    started_at: float
    current: dict[str, Any]
    pending: dict[str, Any]
    handle: str
    pending_handle: str
    before: tuple[str, ...]
    published_version: int
    published_at: float
    confirmed_at: float
    keep_until: float
    count: int
    rotated_at: float
    failures: int
    error: str
    failed_at: float
    missing: tuple[str, ...]
    propagations: tuple[float, ...]
    history: tuple[Past, ...]
    announced: bool = True

    def journal(self) -> Journal:
        return Journal(**{name: getattr(self, name) for name in self.__struct_fields__})
