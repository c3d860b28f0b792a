"""The journal of a target: the state of its open rotation, and what is remembered between rotations."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, field

from lessee.core.consumers import JOURNAL_FOLDER
from lessee.core.immutable import ImmutableStruct, replace, resolve_types
from lessee.ops.rotate.policy.journal_format_1 import upgrade

FORMAT = 2
"""Format 1 is that of lessee 0.1.0, whose journals do not name it: see `journal_format_1`."""
Fields = Mapping[str, Any]
"""Keys of a secret with their values."""
FOLDER = JOURNAL_FOLDER
HISTORY = 10
"""How many rotations, and how many propagation times, a journal remembers."""
MAX_CLOCK_SKEW = 60.0
"""Seconds by which the clocks of two machines may differ."""

Timestamp = Annotated[float, Meta(ge=0.0, le=253402300799.0)]
"""Seconds since 1970, in years of four digits."""


class NewerFormatError(ValueError):
    """A newer version of lessee wrote the journal."""


class Step(Enum):
    """The progress of a target's rotation."""

    IDLE = "idle"
    """No rotation is open."""
    CREATING = "creating"
    """The system is about to be asked for a new credential, which it returns only once."""
    CREATED = "created"
    """The new value is recorded. Whether the system and the secret have it is not known."""
    PUBLISHED = "published"
    """The apps can read the new credential; the old one is still valid."""
    RETAINING = "retaining"
    """The old credential is disabled, and can be restored until `delete_at`."""


class HistoryEntry(ImmutableStruct, frozen=True):
    """A published rotation: its id, its time in seconds since 1970, and the secret's version."""

    id: str
    at: Timestamp
    version: int


class Journal(ImmutableStruct, frozen=True):
    """One target's journal. Times are in seconds since 1970.

    The rotator in `lock_owner` may act until `locked_until`. `fence` grows with each new owner.
    """

    hidden = ("current", "pending")

    step: Step = Step.IDLE
    id: str = ""
    fence: int = 0
    lock_owner: str = ""
    locked_until: Timestamp = 0.0
    started_at: Timestamp = 0.0
    consumers_known: bool = True
    """Whether consumers could confirm before: agents confirm only secrets that are marked as rotated."""
    current: Fields = field(default_factory=dict)
    """The secret's keys that change, with their values when the rotation started."""
    pending: Fields = field(default_factory=dict)
    """The same keys with their new values."""
    handle: str = ""
    """What the system calls the published credential, where no field names it."""
    pending_handle: str = ""
    existing: tuple[str, ...] = ()
    """The credentials that the system had before a new one was requested."""
    published_version: int = 0
    published_at: Timestamp = 0.0
    confirmed_at: Timestamp = 0.0
    """When all known consumers had confirmed; 0: not yet."""
    delete_at: Timestamp = 0.0
    count: int = 0
    rotated_at: Timestamp = 0.0
    """When the last new credential was published."""
    failures: int = 0
    """Consecutive failures."""
    error: str = ""
    failed_at: Timestamp = 0.0
    missing: tuple[str, ...] = ()
    """The consumers that had not confirmed when the last old credential was revoked."""
    propagation_times: tuple[float, ...] = ()
    """Seconds from the start to the last confirmation, the newest last."""
    history: tuple[HistoryEntry, ...] = ()
    format: int = FORMAT

    @property
    def is_open(self) -> bool:
        """Whether a rotation has started that must be finished."""
        return self.step in {Step.CREATING, Step.CREATED, Step.PUBLISHED}

    def clamped(self, now: float) -> Self:
        """Without times in the future, which a wrong clock recorded, or which are ahead since a clock was set back.

        Otherwise nothing would be due, and the old credential would stay valid, until that time.
        """
        if not is_in_future(
            max(self.started_at, self.published_at, self.confirmed_at, self.rotated_at, self.failed_at), now
        ):
            return self
        return replace(
            self,
            started_at=min(self.started_at, now),
            published_at=min(self.published_at, now),
            confirmed_at=min(self.confirmed_at, now),
            delete_at=min(self.delete_at, now) if is_in_future(self.confirmed_at, now) else self.delete_at,
            rotated_at=0.0 if is_in_future(self.rotated_at, now) else self.rotated_at,
            failed_at=min(self.failed_at, now),
        )


def is_in_future(timestamp: float, now: float) -> bool:
    """Whether a time is further ahead than clocks may differ."""
    return timestamp > now + MAX_CLOCK_SKEW


def parse(fields: Fields) -> Journal:
    """The journal in a document's fields, also of format 1. Raises ValueError where they are not one that it reads."""
    if not fields:
        return Journal()
    found = fields.get("format", 1)
    if isinstance(found, int | float) and found > FORMAT:
        what = f"a newer version of lessee wrote this rotation journal, in format {found:g}; this one reads {FORMAT}"
        raise NewerFormatError(what)
    if found == 1:
        fields = {**upgrade(fields), "format": FORMAT}
    try:
        return _parse(fields)
    except (msgspec.ValidationError, ValueError):
        raise ValueError("not a rotation journal of lessee") from None


def serialize(journal: Journal) -> Fields:
    """The fields of the journal's document."""
    return dict(msgspec.to_builtins(journal))


def contains(fields: Fields, wanted: Fields) -> bool:
    """Whether `fields` has all of `wanted`; False where `wanted` is empty, which is no credential."""
    return bool(wanted) and all(fields.get(key) == value for key, value in wanted.items())


def closed(journal: Journal, *, handle: str) -> Journal:
    """The journal after its rotation: without values and without a lock. `handle`: of the published credential."""
    return replace(
        journal,
        step=Step.IDLE,
        id="",
        lock_owner="",
        locked_until=0.0,
        current={},
        pending={},
        handle=handle,
        pending_handle="",
        existing=(),
        delete_at=0.0,
        failures=0,
        error="",
        failed_at=0.0,
    )


_KEYS = frozenset(Journal.__struct_fields__)
resolve_types(Journal)


def _parse(fields: Fields) -> Journal:
    journal = msgspec.convert(fields, Journal)  # Vault may return 3 for 3.0.
    # Without a value a rotation would publish again and again, and never end.
    lacks_value = journal.step in {Step.CREATED, Step.PUBLISHED} and not journal.pending
    if lacks_value or journal.format != FORMAT or not fields.keys() >= _KEYS:
        raise ValueError
    return journal
