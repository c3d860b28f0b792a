"""Decides the next action of a rotation from what is known, without an effect.

After a kill only the journal and the secret are known. Each step therefore begins by asking the system for its state.
"""

from collections.abc import Mapping
from enum import Enum
from typing import assert_never

from msgspec import field

from lessee.core.consumers import ConfirmationStatus
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.journal import Fields, Journal, Step, contains, is_in_future

LOCK_TTL = 10.0
"""Seconds for which a lock lasts beyond the timeout of the kind, unless its owner renews it."""
RECENT = 60.0
"""Seconds after a rotation within which another request counts as the same request."""
_LOCK_POLL = 0.2
_POLL = 0.05
_SLOW_POLL = 1.0
_FAST_POLL_PERIOD = 3.0
_LOGINS_IN_PROGRESS = "logins in progress"
_UNKNOWN_READERS = "readers that are not known yet"


class Traits(ImmutableStruct, frozen=True):
    """What every credential of a kind has in common."""

    system_generated: bool = False
    """The system generates the value, and returns it only once."""
    is_entered: bool = False
    """A user creates the credential in the system, and enters it before the rotation starts."""
    overlaps: bool = True
    """The old and the new credential are valid at the same time."""
    delete_delay: float = 0.0
    """Seconds for which the old credential stays disabled before it is deleted; 0: it is revoked immediately."""
    timeout: float = 10.0
    """Seconds that one request to the system may take. The lock must last at least so much longer."""

    @property
    def is_fixed(self) -> bool:
        """The value is not of lessee's choice: setting it in the system again cannot help."""
        return self.system_generated or self.is_entered


class Secret(ImmutableStruct, frozen=True):
    """The secret that the apps read; version 0 means that there is no secret."""

    hidden = ("fields",)

    version: int
    fields: Fields


class Candidate(Enum):
    """A credential that can be verified."""

    PENDING = "pending"
    CURRENT = "current"
    PUBLISHED = "published"
    """The secret's content, which a user has changed during the rotation."""


class Situation(ImmutableStruct, frozen=True):
    """Everything that a decision depends on. `now` and `requested_at` are in seconds since 1970."""

    journal: Journal
    secret: Secret
    traits: Traits
    own_id: str
    """What the journal's `lock_owner` is when this process has the lock."""
    now: float
    requested_at: float
    """When this rotation was requested."""
    confirmation_timeout: float
    """Seconds to wait for consumers that have not confirmed the new credential."""
    revoke_delay: float = 0.0
    """Seconds for which the old credential stays valid after the last confirmation."""
    force: bool = False
    works: Mapping[Candidate, bool] = field(default_factory=dict)
    """Which credentials the system accepts, as far as verified since its last change."""
    applied: bool = False
    """This process has set the pending value in the system."""
    lock_owner_exited: bool = False
    """The process that has the lock exited without releasing it."""
    confirmation: ConfirmationStatus | None = None
    has_consumers: bool = True
    """Agents may confirm the credential; False: the rotation waits for none."""
    wait: bool = True
    """False: a later run completes what has to wait for consumers."""
    finish_only: bool = False
    """Finish an open rotation, and start none."""
    immediate: bool = False
    """After a leak: another rotation follows, so a new credential that is revoked already delays nothing."""


class Wait(ImmutableStruct, frozen=True):
    """Decide again after a pause. `reason` names what the rotation waits for."""

    seconds: float
    reason: str


class AcquireLock(ImmutableStruct, frozen=True):
    """Acquire or renew the journal's lock."""


class ListCredentials(ImmutableStruct, frozen=True):
    """List the system's credentials, and record that a new one is about to be requested."""


class Generate(ImmutableStruct, frozen=True):
    """Generate a new value, and record it."""


class Create(ImmutableStruct, frozen=True):
    """Let the system create a new credential, and record it. What an interrupted attempt left is deleted first."""


class Verify(ImmutableStruct, frozen=True):
    """Try to log in with it."""

    candidate: Candidate


class Apply(ImmutableStruct, frozen=True):
    """Set the pending value in the system. `reset`: not even the current credential worked."""

    reset: bool = False


class Publish(ImmutableStruct, frozen=True):
    """Write the pending value into the secret, and leave its other keys unchanged."""


class RecordPublished(ImmutableStruct, frozen=True):
    """Record that the secret has the pending value."""


class CheckConfirmations(ImmutableStruct, frozen=True):
    """Read which consumers have confirmed the new version."""


class RecordConfirmed(ImmutableStruct, frozen=True):
    """Record that all known consumers work with the new credential."""


class Revert(ImmutableStruct, frozen=True):
    """A user published the old credential again: revoke the new one instead."""


class Reinstate(ImmutableStruct, frozen=True):
    """A user published the retained old credential again: leave it unchanged."""


class RevokeOld(ImmutableStruct, frozen=True):
    """Revoke or disable the old credential. `missing`: the consumers that have not confirmed the new one."""

    missing: tuple[str, ...] = ()


class DeleteOld(ImmutableStruct, frozen=True):
    """Delete the old credential after its retention."""


class Abandon(ImmutableStruct, frozen=True):
    """End this rotation: discard the pending value, and leave the secret unchanged."""

    reason: str
    rejected: bool = False
    """The system rejects the credential that it created. An immediate retry would not help."""


class Outcome(Enum):
    """How a run ended."""

    ROTATED = "rotated"
    ALREADY_ROTATED = "already rotated"
    NOTHING = "nothing to do"
    WAITING = "waiting for consumers"
    RETAINING = "old credential retained"


class Done(ImmutableStruct, frozen=True):
    """There is nothing more to do now."""

    outcome: Outcome


Action = (
    Wait
    | AcquireLock
    | ListCredentials
    | Generate
    | Create
    | Verify
    | Apply
    | Publish
    | RecordPublished
    | CheckConfirmations
    | RecordConfirmed
    | Revert
    | Reinstate
    | RevokeOld
    | DeleteOld
    | Abandon
    | Done
)


class NewCredentialRejectedError(Exception):
    """The system rejects the credential that has just been set in it."""


class SecretDeletedError(Exception):
    """The secret was deleted."""


def decide(situation: Situation, *, rotated: bool = False) -> Action:
    """The next action. `rotated`: this run has published a new credential.

    The caller performs it, and decides again with what it has learned. Raises NewCredentialRejectedError and
    SecretDeletedError.
    """
    journal = situation.journal
    if not journal.is_open and (outcome := _final_outcome(situation, rotated=rotated)) is not None:
        return Done(outcome)
    if journal.lock_owner not in {"", situation.own_id} and _is_locked(situation) and not situation.lock_owner_exited:
        if journal.step is Step.PUBLISHED and not situation.finish_only and _is_recent(situation):
            # The request is fulfilled, and the other rotator waits for the consumers.
            return Done(Outcome.ALREADY_ROTATED)
        return Wait(min(_LOCK_POLL, journal.locked_until - situation.now), journal.lock_owner)
    if journal.step is Step.IDLE:
        if situation.secret.version and not situation.secret.fields:
            # A new secret would lack the deleted one's other keys, and its deletion may be intended.
            raise SecretDeletedError
        return ListCredentials() if situation.traits.system_generated else Generate()
    if journal.lock_owner != situation.own_id or not _is_locked(situation, for_=situation.traits.timeout):
        return AcquireLock()
    match journal.step:
        case Step.CREATING:
            return Create()
        case Step.CREATED:
            return _continue_publication(situation)
        case Step.PUBLISHED:
            return _continue_revocation(situation, rotated=rotated)
        case Step.RETAINING if contains(situation.secret.fields, journal.current):
            return Reinstate()
        case Step.RETAINING:
            # Its retention is over, or a new rotation is requested, and a system may have room for two only.
            return DeleteOld()
    assert_never(journal.step)


def _is_locked(situation: Situation, *, for_: float = 0.0) -> bool:
    """Whether the lock lasts for so many more seconds.

    No rotator takes a longer lock than `LOCK_TTL` and its timeout. A longer one was recorded by a wrong clock.
    """
    until, now = situation.journal.locked_until, situation.now
    return until > now and until - now >= for_ and not is_in_future(until, now + LOCK_TTL + situation.traits.timeout)


def _final_outcome(situation: Situation, *, rotated: bool) -> Outcome | None:
    """The outcome where no rotation is open; None where there is something to do."""
    journal = situation.journal
    retaining = journal.step is Step.RETAINING
    if rotated or situation.finish_only:
        if retaining and situation.now >= journal.delete_at:
            return None
        return Outcome.ROTATED if rotated else Outcome.RETAINING if retaining else Outcome.NOTHING
    return Outcome.ALREADY_ROTATED if _is_recent(situation) else None


def _is_recent(situation: Situation) -> bool:
    rotated_at = situation.journal.rotated_at
    return bool(rotated_at) and rotated_at >= situation.requested_at - (0 if situation.force else RECENT)


def _continue_publication(situation: Situation) -> Action:
    journal, fields = situation.journal, situation.secret.fields
    if contains(fields, journal.pending):
        return RecordPublished()
    if journal.current and not fields:
        # Writing the pending value alone would lose the secret's other keys.
        raise SecretDeletedError
    # After the publication, only a user can have written the previous value back.
    edited = journal.step is Step.PUBLISHED or any(
        fields.get(key) != journal.current.get(key) for key in journal.pending
    )
    if edited:
        # A user has changed manually what is being rotated. If that works, it takes precedence.
        works = situation.works.get(Candidate.PUBLISHED)
        if works is None:
            return Verify(Candidate.PUBLISHED)
        if works and journal.step is Step.PUBLISHED and contains(fields, journal.current):
            return Revert()
        if works:
            return Abandon("the secret was changed manually during the rotation, and its new content works")
    return _make_work(situation) if not situation.works.get(Candidate.PENDING) else Publish()


def _make_work(situation: Situation) -> Action:
    """The next action where the pending value is not known to work."""
    journal, traits = situation.journal, situation.traits
    if Candidate.PENDING not in situation.works:
        return Verify(Candidate.PENDING)
    if situation.applied or (traits.is_fixed and journal.step is Step.PUBLISHED):
        raise NewCredentialRejectedError
    if traits.is_fixed:
        source = "was entered" if traits.is_entered else "it created"
        return Abandon(f"the system rejects the credential that {source}", rejected=not situation.immediate)
    if Candidate.PUBLISHED in situation.works or journal.step is Step.PUBLISHED:
        return Apply(reset=True)
    current = situation.works.get(Candidate.CURRENT)
    return Verify(Candidate.CURRENT) if current is None else Apply(reset=not current)


def _continue_revocation(situation: Situation, *, rotated: bool) -> Action:
    confirmation, journal = situation.confirmation, situation.journal
    if not contains(situation.secret.fields, journal.pending):
        return _continue_publication(situation)
    if confirmation is None:
        return CheckConfirmations()
    # Where no consumer could be known before, the first that confirms may not be the only one.
    complete = not situation.has_consumers or (journal.consumers_known and confirmation.is_complete)
    if complete and not journal.confirmed_at:
        return RecordConfirmed()
    until = (
        journal.confirmed_at + situation.revoke_delay
        if complete
        else journal.published_at + situation.confirmation_timeout * _must_wait(journal)
    )
    if situation.now >= until:
        # The new credential may have stopped working during the wait.
        works = situation.works.get(Candidate.PENDING)
        is_replaced_next = works is False and situation.immediate and situation.traits.is_fixed
        return RevokeOld(confirmation.missing) if works or is_replaced_next else _make_work(situation)
    if not situation.wait:
        return Done(Outcome.ROTATED if rotated else Outcome.WAITING)
    is_new = situation.now - journal.published_at < _FAST_POLL_PERIOD
    pause = _POLL if is_new and not complete else _SLOW_POLL
    reason = ", ".join(confirmation.missing) or (_LOGINS_IN_PROGRESS if complete else _UNKNOWN_READERS)
    return Wait(min(pause, until - situation.now), reason)


def _must_wait(journal: Journal) -> bool:
    """False where there is no old credential, and no consumer is known that could have used it."""
    return bool(journal.current) or journal.consumers_known
