"""The decision for every situation of a rotation."""

import pytest

from lessee.core.consumers import ConfirmationStatus
from lessee.core.immutable import replace
from lessee.ops.rotate.policy import decision as d
from lessee.ops.rotate.policy.decision import Candidate, Outcome, Situation, Traits, decide
from lessee.ops.rotate.policy.journal import MAX_CLOCK_SKEW, Journal, Step

NOW = 1_000_000.0
OLD, NEW, MANUAL = {"password": "old"}, {"password": "new"}, {"password": "manual"}
ALL = ConfirmationStatus(confirmed=("simba/host-1",))


def situation(step=Step.IDLE, fields=OLD, **known):
    """What the lock owner knows."""
    recorded = {name: known.pop(name) for name in list(known) if name in Journal.__struct_fields__}
    journal = Journal(
        step=step,
        **{
            "lock_owner": "me",
            "locked_until": NOW + 20,
            "current": OLD,
            "pending": NEW,
            "published_at": NOW,
            **recorded,
        },
    )
    around = {"traits": Traits(), "own_id": "me", "now": NOW, "requested_at": NOW, "confirmation_timeout": 300.0}
    return Situation(journal=journal, secret=d.Secret(3, fields), **{**around, **known})


def created(**known):
    return situation(Step.CREATED, **known)


def published(**known):
    return situation(
        Step.PUBLISHED, **{"fields": NEW, "works": {Candidate.PENDING: True}, "confirmed_at": NOW, **known}
    )


def retaining(**known):
    return situation(Step.RETAINING, **{"fields": NEW, "pending": {}, **known})


GENERATED = Traits(system_generated=True)


def test_a_new_value_is_recorded_before_the_system_knows_it():
    assert decide(situation()) == d.Generate()


def test_a_value_that_a_user_enters_is_recorded_and_never_set_in_the_system():
    entered = Traits(is_entered=True)
    assert decide(situation(traits=entered)) == d.Generate()
    assert decide(created(traits=entered)) == d.Verify(Candidate.PENDING)
    rejected = d.Abandon("the system rejects the credential that was entered", rejected=True)
    assert decide(created(traits=entered, works={Candidate.PENDING: False})) == rejected


def test_credentials_are_listed_before_the_system_creates_one():
    assert decide(situation(traits=GENERATED)) == d.ListCredentials()
    assert decide(situation(Step.CREATING, traits=GENERATED)) == d.Create()


def test_a_rotator_waits_while_another_has_the_lock():
    locked = replace(created(), own_id="another")
    assert decide(locked) == d.Wait(0.2, "me")
    assert decide(replace(locked, now=NOW + 19.9)).seconds == pytest.approx(0.1)
    assert decide(replace(locked, now=NOW + 20)) == d.AcquireLock()
    assert decide(replace(locked, lock_owner_exited=True)) == d.AcquireLock()


def test_a_lock_longer_than_any_rotator_takes_is_ignored():
    """A wrong clock recorded it, or a clock was set back since."""
    longest = NOW + d.LOCK_TTL + Traits().timeout + MAX_CLOCK_SKEW
    locked = replace(created(locked_until=longest), own_id="another")
    assert decide(locked) == d.Wait(0.2, "me")
    assert decide(replace(locked, now=NOW - 0.1)) == d.AcquireLock()
    assert decide(created(locked_until=longest + 0.1)) == d.AcquireLock()


def test_a_lock_is_renewed_before_it_is_too_short_for_a_request():
    assert decide(created(locked_until=NOW + 9.9)) == d.AcquireLock()
    assert decide(created(locked_until=NOW + 10)) == d.Verify(Candidate.PENDING)


@pytest.mark.parametrize(
    ("known", "action"),
    [
        ({"fields": NEW}, d.RecordPublished()),
        ({}, d.Verify(Candidate.PENDING)),
        ({"works": {Candidate.PENDING: True}}, d.Publish()),
        ({"works": {Candidate.PENDING: False}}, d.Verify(Candidate.CURRENT)),
        ({"works": {Candidate.PENDING: False, Candidate.CURRENT: True}}, d.Apply()),
        ({"works": {Candidate.PENDING: False, Candidate.CURRENT: False}}, d.Apply(reset=True)),
        ({"fields": MANUAL}, d.Verify(Candidate.PUBLISHED)),
        ({"fields": MANUAL, "works": {Candidate.PUBLISHED: False}}, d.Verify(Candidate.PENDING)),
        ({"fields": MANUAL, "works": {Candidate.PUBLISHED: False, Candidate.PENDING: False}}, d.Apply(reset=True)),
        ({"fields": MANUAL, "works": {Candidate.PUBLISHED: False, Candidate.PENDING: True}}, d.Publish()),
        ({"current": {}, "fields": {}}, d.Verify(Candidate.PENDING)),
    ],
)
def test_a_pending_value_is_applied_or_published_by_what_the_system_accepts(known, action):
    assert decide(created(**known)) == action


@pytest.mark.parametrize("step", [Step.CREATED, Step.PUBLISHED])
def test_a_working_value_that_a_user_wrote_stays(step):
    known = situation(step, fields=MANUAL, works={Candidate.PUBLISHED: True})
    assert isinstance(decide(known), d.Abandon)
    assert not decide(known).rejected


def test_a_value_rejected_after_it_was_applied_is_not_applied_again():
    with pytest.raises(d.NewCredentialRejectedError):
        decide(created(works={Candidate.PENDING: False}, applied=True))


def test_a_system_that_rejects_its_own_credential_is_not_asked_for_another():
    assert decide(created(works={Candidate.PENDING: False}, traits=GENERATED)).rejected


@pytest.mark.parametrize("step", [Step.CREATED, Step.PUBLISHED])
def test_a_deleted_secret_is_not_rewritten_with_some_of_its_keys(step):
    with pytest.raises(d.SecretDeletedError):
        decide(situation(step, fields={}))


@pytest.mark.parametrize("traits", [Traits(), GENERATED])
def test_a_deleted_secret_is_not_created_again_and_a_missing_one_is(traits):
    deleted = situation(fields={}, traits=traits)
    with pytest.raises(d.SecretDeletedError):
        decide(deleted)
    assert decide(replace(deleted, secret=d.Secret(0, {}))) in {d.Generate(), d.ListCredentials()}
    assert decide(replace(deleted, finish_only=True)) == d.Done(Outcome.NOTHING)


def test_the_old_credential_is_valid_until_its_consumers_have_confirmed():
    assert decide(published()) == d.CheckConfirmations()
    assert decide(published(confirmation=ALL)) == d.RevokeOld()
    missing = ConfirmationStatus(missing=("simba/host-2",))
    assert decide(published(confirmation=missing)) == d.Wait(0.05, "simba/host-2")
    assert decide(published(confirmation=missing, now=NOW + 5, locked_until=NOW + 20)) == d.Wait(1.0, "simba/host-2")
    assert decide(published(confirmation=missing, confirmation_timeout=0)) == d.RevokeOld(("simba/host-2",))


def test_without_known_consumers_the_whole_timeout_is_waited():
    assert decide(published(confirmation=ConfirmationStatus())).reason == "readers that are not known yet"
    assert decide(published(confirmation=ConfirmationStatus(), confirmation_timeout=0)) == d.RevokeOld()


def test_the_first_confirmation_does_not_count_for_all_consumers():
    assert decide(published(confirmation=ALL, consumers_known=False)) == d.Wait(0.05, "readers that are not known yet")
    assert decide(published(confirmation=ALL, consumers_known=False, confirmation_timeout=0)) == d.RevokeOld()
    # Nothing can be revoked too early where there was no credential before.
    assert decide(published(confirmation=ALL, consumers_known=False, current={})) == d.RevokeOld()
    assert decide(published(confirmation=ConfirmationStatus(missing=("a/1",)), current={})) == d.Wait(0.05, "a/1")


@pytest.mark.parametrize(("rotated", "outcome"), [(True, Outcome.ROTATED), (False, Outcome.WAITING)])
def test_a_run_may_leave_the_wait_to_the_next_one(rotated, outcome):
    assert decide(published(confirmation=ConfirmationStatus(), wait=False), rotated=rotated) == d.Done(outcome)


def test_confirmations_are_recorded_before_the_revoke_delay():
    assert decide(published(confirmation=ALL, confirmed_at=0.0)) == d.RecordConfirmed()
    delayed = published(confirmation=ALL, revoke_delay=5.0)
    assert decide(delayed) == d.Wait(1.0, "logins in progress")
    assert decide(replace(delayed, now=NOW + 4.5)) == d.Wait(0.5, "logins in progress")
    assert decide(replace(delayed, wait=False)) == d.Done(Outcome.WAITING)
    assert decide(replace(delayed, now=NOW + 5)) == d.RevokeOld()


def test_the_old_credential_is_revoked_only_while_the_new_one_works():
    assert decide(published(confirmation=ALL, works={})) == d.Verify(Candidate.PENDING)
    broken = published(confirmation=ALL, works={Candidate.PENDING: False})
    assert decide(broken) == d.Apply(reset=True)
    for unfixable in (replace(broken, applied=True), replace(broken, traits=GENERATED)):
        with pytest.raises(d.NewCredentialRejectedError):
            decide(unfixable)


def test_a_credential_that_a_user_restored_is_not_revoked():
    reverted = published(fields=OLD, confirmation=ALL)
    assert decide(reverted) == d.Verify(Candidate.PUBLISHED)
    assert decide(replace(reverted, works={Candidate.PUBLISHED: True})) == d.Revert()
    assert decide(replace(reverted, works={Candidate.PUBLISHED: False, Candidate.PENDING: True})) == d.Publish()
    assert decide(retaining(fields=OLD, delete_at=NOW)) == d.Reinstate()


def test_a_disabled_credential_is_deleted_after_its_delay_or_for_a_new_one():
    assert decide(retaining(delete_at=NOW, finish_only=True)) == d.DeleteOld()
    assert decide(retaining(delete_at=NOW + 1, finish_only=True)) == d.Done(Outcome.RETAINING)
    assert decide(retaining(delete_at=NOW + 1)) == d.DeleteOld()
    assert decide(retaining(delete_at=NOW + 1), rotated=True) == d.Done(Outcome.ROTATED)


def test_two_requests_at_a_time_make_one_rotation():
    assert decide(situation(rotated_at=NOW - 59)) == d.Done(Outcome.ALREADY_ROTATED)
    assert decide(situation(rotated_at=NOW - 61)) == d.Generate()
    assert decide(situation(rotated_at=NOW - 1, force=True)) == d.Generate()
    assert decide(situation(rotated_at=NOW, force=True)) == d.Done(Outcome.ALREADY_ROTATED)


def test_finish_only_starts_no_rotation():
    assert decide(situation(finish_only=True)) == d.Done(Outcome.NOTHING)
    assert decide(created(finish_only=True)) == d.Verify(Candidate.PENDING)


def test_no_value_is_in_the_repr_of_a_situation():
    assert "'new'" not in repr(created()) + repr(created().secret)


def test_a_credential_without_consumers_waits_for_the_revoke_delay_alone():
    unread = {"confirmation": ConfirmationStatus(), "has_consumers": False, "revoke_delay": 5.0}
    assert decide(published(confirmed_at=0.0, **unread)) == d.RecordConfirmed()
    waiting = decide(published(**unread))
    assert isinstance(waiting, d.Wait)
    assert decide(published(now=NOW + 5.0, locked_until=NOW + 20, **unread)) == d.RevokeOld()
    assert decide(published(now=NOW + 5.0, works={}, **unread)) == d.Verify(Candidate.PENDING)


def test_after_a_leak_a_credential_that_is_revoked_already_is_replaced_by_the_next_rotation():
    rejected = {"traits": GENERATED, "works": {Candidate.PENDING: False}, "confirmation": ALL}
    with pytest.raises(d.NewCredentialRejectedError):
        decide(published(**rejected))
    assert decide(published(**rejected, immediate=True)) == d.RevokeOld()
    assert decide(published(**rejected | {"works": {}}, immediate=True)) == d.Verify(Candidate.PENDING)
    reason = "the system rejects the credential that it created"
    assert decide(created(**rejected)) == d.Abandon(reason, rejected=True)
    assert decide(created(**rejected, immediate=True)) == d.Abandon(reason)
    # Any other credential is set in the system again.
    assert decide(published(**rejected | {"traits": Traits()}, immediate=True)) == d.Apply(reset=True)
