"""What is kept of a rotation while it is under way, and of a target between rotations."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, field

from lessee.core.consumers import JOURNALS
from lessee.core.immutable import Record, look_into, replace

Fields = Mapping[str, Any]
"""Keys of a secret with their values."""
FOLDER = JOURNALS
HISTORY = 10
"""So many rotations, and so many measured times, are remembered."""
CLOCKS = 60.0
"""Seconds by which the clocks of two machines may differ."""

Moment = Annotated[float, Meta(ge=0.0, le=253402300799.0)]
"""Seconds since 1970, in years of four digits."""


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
    at: Moment
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
    held_until: Moment = 0.0
    started_at: Moment = 0.0
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
    published_at: Moment = 0.0
    confirmed_at: Moment = 0.0
    """When all who are known worked with it; 0: not yet."""
    keep_until: Moment = 0.0
    count: int = 0
    rotated_at: Moment = 0.0
    """When the last one that was published was."""
    failures: int = 0
    """In a row."""
    error: str = ""
    failed_at: Moment = 0.0
    missing: tuple[str, ...] = ()
    """The consumers that the last retirement did not wait for any longer."""
    propagations: tuple[float, ...] = ()
    """How long it took from the start to the last confirmation, the newest last."""
    history: tuple[Past, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a rotation has begun that must be brought to its end."""
        return self.step in {Step.CREATING, Step.CREATED, Step.PUBLISHED}

    def as_of(self, now: float) -> Self:
        """Without moments that lie ahead: a wrong clock noted them, or one was set back since.

        Else nothing would be due, and the old credential stay valid, until that moment comes.
        """
        if not is_ahead(
            max(self.started_at, self.published_at, self.confirmed_at, self.rotated_at, self.failed_at), now
        ):
            return self
        return replace(
            self,
            started_at=min(self.started_at, now),
            published_at=min(self.published_at, now),
            confirmed_at=min(self.confirmed_at, now),
            keep_until=min(self.keep_until, now) if is_ahead(self.confirmed_at, now) else self.keep_until,
            rotated_at=0.0 if is_ahead(self.rotated_at, now) else self.rotated_at,
            failed_at=min(self.failed_at, now),
        )


def is_ahead(moment: float, now: float) -> bool:
    """Whether it lies further in the future than clocks differ."""
    return moment > now + CLOCKS


def read(fields: Fields) -> Journal:
    """What was kept. Raises ValueError where it is no journal."""
    if not fields:
        return Journal()
    try:
        return _whole(fields)
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


_KEYS = frozenset(Journal.__struct_fields__)
look_into(Journal)


def _whole(fields: Fields) -> Journal:
    journal = msgspec.convert(fields, Journal)  # Vault gives numbers back as it likes: 3 for 3.0.
    # Without a value it would be published again and again, and never stand there.
    lacks_value = journal.step in {Step.CREATED, Step.PUBLISHED} and not journal.pending
    if lacks_value or not fields.keys() >= _KEYS:
        raise ValueError
    return journal
