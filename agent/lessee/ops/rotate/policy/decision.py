"""What to do next in a rotation, by what is known: the whole policy, without an effect.

After a kill only the journal and the secret are known, and so each step begins by asking the system what is true.
"""

from collections.abc import Mapping
from enum import Enum
from typing import assert_never

from msgspec import field

from lessee.core.consumers import Standing
from lessee.core.immutable import Record
from lessee.ops.rotate.policy.journal import Fields, Journal, Step, holds, is_ahead

HOLD = 10.0
"""Seconds for which a holder may act beyond a kind's patience without saying again that it is there."""
JUST = 60.0
"""Seconds after a rotation within which another one is taken for the same wish."""
_LOCK_POLL = 0.2
_POLL = 0.05
_SLOW_POLL = 1.0
_SOON = 3.0
_UNDER_WAY = "logins that are under way"
_UNKNOWN = "whoever reads it: not all are known"


class Traits(Record, frozen=True):
    """What is so of every credential of a kind."""

    made_by_system: bool = False
    """The system makes the value, and shows it once."""
    overlaps: bool = True
    """Old and new are valid at the same time."""
    keep: float = 0.0
    """Seconds for which the old one is kept, disabled, before it is removed."""
    patience: float = 10.0
    """Seconds that asking the system for one thing may take: so much of the hold must be left."""


class Secret(Record, frozen=True):
    """The secret that the apps read; version 0 is none."""

    hidden = ("fields",)

    version: int
    fields: Fields


class Which(Enum):
    """A credential that may be tried."""

    PENDING = "pending"
    CURRENT = "current"
    PUBLIC = "public"
    """What somebody has written into the secret meanwhile."""


class Sight(Record, frozen=True):
    """All that is known when it is decided. `now` and `since` in seconds since 1970."""

    journal: Journal
    secret: Secret
    traits: Traits
    holder: str
    now: float
    since: float
    """When this rotation was wished for."""
    within: float
    """Seconds for which those who have not confirmed are waited for."""
    lingers: float = 0.0
    """Seconds for which the old one stays valid after the last confirmation."""
    force: bool = False
    works: Mapping[Which, bool] = field(default_factory=dict)
    """What the system has said since it was last changed."""
    applied: bool = False
    """The system has been made to know the pending value, by us."""
    left: bool = False
    """The holder has ended without letting go."""
    standing: Standing | None = None
    may_wait: bool = True
    """False: what has to wait for others is left for the next time."""
    open_only: bool = False
    """Finish what has begun, and begin nothing."""


class Wait(Record, frozen=True):
    """Look again later. `on`: whom it waits for."""

    seconds: float
    on: str


class Take(Record, frozen=True):
    """Become, or remain, the holder."""


class Look(Record, frozen=True):
    """Ask the system what it has of the kind, and note that a new one is about to be asked for."""


class Begin(Record, frozen=True):
    """Make a new value, and note it."""


class Create(Record, frozen=True):
    """Let the system make a new value, after what an earlier try of this rotation left is removed, and note it."""


class Prove(Record, frozen=True):
    """Try to log in with it."""

    which: Which


class Apply(Record, frozen=True):
    """Let the system know the pending value. `reset`: not even the current one worked."""

    reset: bool = False


class Publish(Record, frozen=True):
    """Write the pending value into the secret, beside what stands there."""


class Note(Record, frozen=True):
    """The secret has the pending value: note it."""


class AskConsumers(Record, frozen=True):
    """Look who has confirmed."""


class Confirm(Record, frozen=True):
    """All who are known work with it: note it."""


class Adopt(Record, frozen=True):
    """The old one is published again, by hand: then the new one is what has to be retired."""


class Spare(Record, frozen=True):
    """The old one that was kept is published again, by hand: leave it alone."""


class Retire(Record, frozen=True):
    """Take the old credential out of use. `missing`: those who have not confirmed the new one."""

    missing: tuple[str, ...] = ()


class Remove(Record, frozen=True):
    """Remove the old credential that was kept."""


class Abandon(Record, frozen=True):
    """Give this rotation up: the pending value is taken out of use, and the secret left as it is."""

    why: str
    refused: bool = False
    """The system does not let in what it has made: to ask it for another at once would not help."""


class Outcome(Enum):
    """How it ended."""

    ROTATED = "rotated"
    JUST_ROTATED = "just rotated"
    NOTHING = "nothing to do"
    WAITING = "waiting for consumers"
    KEEPING = "keeping the old one"


class Done(Record, frozen=True):
    """There is nothing more to do now."""

    outcome: Outcome


Action = (
    Wait
    | Take
    | Look
    | Begin
    | Create
    | Prove
    | Apply
    | Publish
    | Note
    | AskConsumers
    | Confirm
    | Adopt
    | Spare
    | Retire
    | Remove
    | Abandon
    | Done
)


class RefusedByOwnSystemError(Exception):
    """The system does not let in what it has just been told."""


class SecretGoneError(Exception):
    """The secret was deleted."""


def decide(sight: Sight, *, rotated: bool = False) -> Action:
    """The next thing to do. `rotated`: this run has published. Raises RefusedByOwnSystemError and SecretGoneError.

    The caller does it, and asks again with what it has learnt.
    """
    journal = sight.journal
    if not journal.is_open and (outcome := _over(sight, rotated=rotated)) is not None:
        return Done(outcome)
    if journal.holder not in {"", sight.holder} and _may_act(sight) and not sight.left:
        if journal.step is Step.PUBLISHED and not sight.open_only and _is_just(sight):
            # The wish is fulfilled, and the other one is there to wait for the consumers.
            return Done(Outcome.JUST_ROTATED)
        return Wait(min(_LOCK_POLL, journal.held_until - sight.now), journal.holder)
    if journal.step is Step.IDLE:
        if sight.secret.version and not sight.secret.fields:
            raise SecretGoneError  # Anew it would be without its other keys, and whoever deleted it may not want it.
        return Look() if sight.traits.made_by_system else Begin()
    if journal.holder != sight.holder or not _may_act(sight, for_=sight.traits.patience):
        return Take()
    match journal.step:
        case Step.CREATING:
            return Create()
        case Step.CREATED:
            return _bring_out(sight)
        case Step.PUBLISHED:
            return _retire(sight, rotated=rotated)
        case Step.KEEPING if holds(sight.secret.fields, journal.current):
            return Spare()
        case Step.KEEPING:
            # Either its time is over, or a new one is wished for, and a system may have room for two alone.
            return Remove()
    assert_never(journal.step)


def _may_act(sight: Sight, *, for_: float = 0.0) -> bool:
    """Whether the hold is good for so many seconds. Nobody takes a longer one: what says so, a wrong clock noted."""
    until, now = sight.journal.held_until, sight.now
    return until > now and until - now >= for_ and not is_ahead(until, now + HOLD + sight.traits.patience)


def _over(sight: Sight, *, rotated: bool) -> Outcome | None:
    """What there is to say where nothing is open; None: there is something to do."""
    journal = sight.journal
    due = journal.step is Step.KEEPING and sight.now >= journal.keep_until
    if rotated or sight.open_only:
        if due:
            return None
        kept = journal.step is Step.KEEPING
        return Outcome.ROTATED if rotated else Outcome.KEEPING if kept else Outcome.NOTHING
    return Outcome.JUST_ROTATED if _is_just(sight) else None


def _is_just(sight: Sight) -> bool:
    just = sight.journal.rotated_at >= sight.since - (0 if sight.force else JUST)
    return just and bool(sight.journal.rotated_at)


def _bring_out(sight: Sight) -> Action:
    journal, fields = sight.journal, sight.secret.fields
    if holds(fields, journal.pending):
        return Note()
    if journal.current and not fields:
        # To write the pending value alone would lose what else stood there.
        raise SecretGoneError
    # Once it was published, the value from before it stands there only because somebody has written it.
    edited = journal.step is Step.PUBLISHED or any(
        fields.get(key) != journal.current.get(key) for key in journal.pending
    )
    if edited:
        # Somebody has changed by hand what is being rotated. If that works, it is the newer wish.
        works = sight.works.get(Which.PUBLIC)
        if works is None:
            return Prove(Which.PUBLIC)
        if works and journal.step is Step.PUBLISHED and holds(fields, journal.current):
            return Adopt()
        if works:
            return Abandon("the secret was changed by hand meanwhile, and what stands there works")
    return _make_work(sight) if not sight.works.get(Which.PENDING) else Publish()


def _make_work(sight: Sight) -> Action:
    """Where it is not known that the pending value works."""
    journal, made = sight.journal, sight.traits.made_by_system
    if Which.PENDING not in sight.works:
        return Prove(Which.PENDING)
    if sight.applied or (made and journal.step is Step.PUBLISHED):
        raise RefusedByOwnSystemError
    if made:
        return Abandon("the system does not let in what it has made", refused=True)
    if Which.PUBLIC in sight.works or journal.step is Step.PUBLISHED:
        return Apply(reset=True)
    current = sight.works.get(Which.CURRENT)
    return Prove(Which.CURRENT) if current is None else Apply(reset=not current)


def _retire(sight: Sight, *, rotated: bool) -> Action:
    standing, journal = sight.standing, sight.journal
    if not holds(sight.secret.fields, journal.pending):
        return _bring_out(sight)
    if standing is None:
        return AskConsumers()
    # Where nobody could be known before, who confirms first may not be all.
    whole = journal.announced and standing.is_whole
    if whole and not journal.confirmed_at:
        return Confirm()
    until = journal.confirmed_at + sight.lingers if whole else journal.published_at + sight.within
    if sight.now >= until:
        # While the confirmations were waited for, anything may have happened to it.
        return Retire(standing.missing) if sight.works.get(Which.PENDING) else _make_work(sight)
    if not sight.may_wait:
        return Done(Outcome.ROTATED if rotated else Outcome.WAITING)
    pause = _POLL if sight.now - journal.published_at < _SOON and not whole else _SLOW_POLL
    on = ", ".join(standing.missing) or (_UNDER_WAY if whole else _UNKNOWN)
    return Wait(min(pause, until - sight.now), on)
