"""What is done next, for all that may be known."""

import pytest

from lessee.core.consumers import Standing
from lessee.core.immutable import replace
from lessee.ops.rotate.policy import decision as d
from lessee.ops.rotate.policy.decision import Outcome, Sight, Traits, Which, decide
from lessee.ops.rotate.policy.journal import CLOCKS, Journal, Step

NOW = 1_000_000.0
OLD, NEW, MINE = {"password": "old"}, {"password": "new"}, {"password": "mine"}
ALL = Standing(confirmed=("simba/host-1",))


def sight(step=Step.IDLE, fields=OLD, **known):
    """As the holder sees it."""
    noted = {name: known.pop(name) for name in list(known) if name in Journal.__struct_fields__}
    journal = Journal(
        step=step,
        **{"holder": "me", "held_until": NOW + 20, "current": OLD, "pending": NEW, "published_at": NOW, **noted},
    )
    around = {"traits": Traits(), "holder": "me", "now": NOW, "since": NOW, "within": 300.0}
    return Sight(journal=journal, secret=d.Secret(3, fields), **{**around, **known})


def created(**known):
    return sight(Step.CREATED, **known)


def published(**known):
    return sight(Step.PUBLISHED, **{"fields": NEW, "works": {Which.PENDING: True}, "confirmed_at": NOW, **known})


def keeping(**known):
    return sight(Step.KEEPING, **{"fields": NEW, "pending": {}, **known})


MADE = Traits(made_by_system=True)


def test_a_new_value_is_noted_before_the_system_knows_it():
    assert decide(sight()) == d.Begin()


def test_a_system_that_makes_the_value_is_first_asked_what_it_has():
    assert decide(sight(traits=MADE)) == d.Look()
    assert decide(sight(Step.CREATING, traits=MADE)) == d.Create()


def test_another_rotator_is_waited_for_as_long_as_he_may_act():
    held = replace(created(), holder="another")
    assert decide(held) == d.Wait(0.2, "me")
    assert decide(replace(held, now=NOW + 19.9)).seconds == pytest.approx(0.1)
    assert decide(replace(held, now=NOW + 20)) == d.Take()
    assert decide(replace(held, left=True)) == d.Take()


def test_a_hold_that_is_longer_than_any_is_not_believed():
    """Whoever noted it had a wrong clock, or one was set back since."""
    longest = NOW + d.HOLD + Traits().patience + CLOCKS
    held = replace(created(held_until=longest), holder="another")
    assert decide(held) == d.Wait(0.2, "me")
    assert decide(replace(held, now=NOW - 0.1)) == d.Take()
    assert decide(created(held_until=longest + 0.1)) == d.Take()


def test_who_has_little_left_of_his_hold_says_again_that_he_is_there():
    assert decide(created(held_until=NOW + 9.9)) == d.Take()
    assert decide(created(held_until=NOW + 10)) == d.Prove(Which.PENDING)


@pytest.mark.parametrize(
    ("known", "action"),
    [
        ({"fields": NEW}, d.Note()),
        ({}, d.Prove(Which.PENDING)),
        ({"works": {Which.PENDING: True}}, d.Publish()),
        ({"works": {Which.PENDING: False}}, d.Prove(Which.CURRENT)),
        ({"works": {Which.PENDING: False, Which.CURRENT: True}}, d.Apply()),
        ({"works": {Which.PENDING: False, Which.CURRENT: False}}, d.Apply(reset=True)),
        ({"fields": MINE}, d.Prove(Which.PUBLIC)),
        ({"fields": MINE, "works": {Which.PUBLIC: False}}, d.Prove(Which.PENDING)),
        ({"fields": MINE, "works": {Which.PUBLIC: False, Which.PENDING: False}}, d.Apply(reset=True)),
        ({"fields": MINE, "works": {Which.PUBLIC: False, Which.PENDING: True}}, d.Publish()),
        ({"current": {}, "fields": {}}, d.Prove(Which.PENDING)),
    ],
)
def test_a_value_is_brought_out_by_what_the_system_says(known, action):
    assert decide(created(**known)) == action


@pytest.mark.parametrize("step", [Step.CREATED, Step.PUBLISHED])
def test_what_a_person_has_written_and_works_is_left(step):
    known = sight(step, fields=MINE, works={Which.PUBLIC: True})
    assert isinstance(decide(known), d.Abandon)
    assert not decide(known).refused


def test_a_system_that_refuses_what_it_was_told_is_not_told_again():
    with pytest.raises(d.RefusedByOwnSystemError):
        decide(created(works={Which.PENDING: False}, applied=True))


def test_a_system_that_refuses_what_it_made_is_not_asked_for_another_at_once():
    assert decide(created(works={Which.PENDING: False}, traits=MADE)).refused


@pytest.mark.parametrize("step", [Step.CREATED, Step.PUBLISHED])
def test_a_secret_that_was_deleted_is_not_written_anew_with_half_of_its_keys(step):
    with pytest.raises(d.SecretGoneError):
        decide(sight(step, fields={}))


@pytest.mark.parametrize("traits", [Traits(), MADE])
def test_a_secret_that_was_deleted_is_not_made_anew_and_one_that_never_was_is(traits):
    gone = sight(fields={}, traits=traits)
    with pytest.raises(d.SecretGoneError):
        decide(gone)
    assert decide(replace(gone, secret=d.Secret(0, {}))) in {d.Begin(), d.Look()}
    assert decide(replace(gone, open_only=True)) == d.Done(Outcome.NOTHING)


def test_the_old_is_valid_until_those_who_read_it_have_confirmed():
    assert decide(published()) == d.AskConsumers()
    assert decide(published(standing=ALL)) == d.Retire()
    missing = Standing(missing=("simba/host-2",))
    assert decide(published(standing=missing)) == d.Wait(0.05, "simba/host-2")
    assert decide(published(standing=missing, now=NOW + 5, held_until=NOW + 20)) == d.Wait(1.0, "simba/host-2")
    assert decide(published(standing=missing, within=0)) == d.Retire(("simba/host-2",))


def test_where_nobody_is_known_the_whole_time_is_waited():
    assert decide(published(standing=Standing())).on.startswith("whoever")
    assert decide(published(standing=Standing(), within=0)) == d.Retire()


def test_where_nobody_could_be_known_before_who_confirms_first_is_not_taken_for_all():
    assert decide(published(standing=ALL, announced=False)) == d.Wait(0.05, "whoever reads it: not all are known")
    assert decide(published(standing=ALL, announced=False, within=0)) == d.Retire()


@pytest.mark.parametrize(("rotated", "outcome"), [(True, Outcome.ROTATED), (False, Outcome.WAITING)])
def test_the_waiting_may_be_left_for_the_next_time(rotated, outcome):
    assert decide(published(standing=Standing(), may_wait=False), rotated=rotated) == d.Done(outcome)


def test_that_all_have_confirmed_is_noted_and_logins_that_are_under_way_are_waited_for():
    assert decide(published(standing=ALL, confirmed_at=0.0)) == d.Confirm()
    lingering = published(standing=ALL, lingers=5.0)
    assert decide(lingering) == d.Wait(1.0, "logins that are under way")
    assert decide(replace(lingering, now=NOW + 4.5)) == d.Wait(0.5, "logins that are under way")
    assert decide(replace(lingering, may_wait=False)) == d.Done(Outcome.WAITING)
    assert decide(replace(lingering, now=NOW + 5)) == d.Retire()


def test_the_old_is_retired_only_while_the_new_works():
    assert decide(published(standing=ALL, works={})) == d.Prove(Which.PENDING)
    broken = published(standing=ALL, works={Which.PENDING: False})
    assert decide(broken) == d.Apply(reset=True)
    for beyond in (replace(broken, applied=True), replace(broken, traits=MADE)):
        with pytest.raises(d.RefusedByOwnSystemError):
            decide(beyond)


def test_what_is_set_back_by_hand_is_not_retired():
    back = published(fields=OLD, standing=ALL)
    assert decide(back) == d.Prove(Which.PUBLIC)
    assert decide(replace(back, works={Which.PUBLIC: True})) == d.Adopt()
    assert decide(replace(back, works={Which.PUBLIC: False, Which.PENDING: True})) == d.Publish()
    assert decide(keeping(fields=OLD, keep_until=NOW)) == d.Spare()


def test_what_is_kept_is_removed_when_its_time_is_over_or_a_new_one_needs_its_place():
    assert decide(keeping(keep_until=NOW, open_only=True)) == d.Remove()
    assert decide(keeping(keep_until=NOW + 1, open_only=True)) == d.Done(Outcome.KEEPING)
    assert decide(keeping(keep_until=NOW + 1)) == d.Remove()
    assert decide(keeping(keep_until=NOW + 1), rotated=True) == d.Done(Outcome.ROTATED)


def test_two_wishes_at_a_time_make_one_rotation():
    assert decide(sight(rotated_at=NOW - 59)) == d.Done(Outcome.JUST_ROTATED)
    assert decide(sight(rotated_at=NOW - 61)) == d.Begin()
    assert decide(sight(rotated_at=NOW - 1, force=True)) == d.Begin()
    assert decide(sight(rotated_at=NOW, force=True)) == d.Done(Outcome.JUST_ROTATED)


def test_to_finish_what_is_open_begins_nothing():
    assert decide(sight(open_only=True)) == d.Done(Outcome.NOTHING)
    assert decide(created(open_only=True)) == d.Prove(Which.PENDING)


def test_no_value_is_in_the_repr_of_what_is_known():
    assert "'new'" not in repr(created()) + repr(created().secret)
