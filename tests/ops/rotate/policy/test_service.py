"""What the rotation service does next."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.config.time_windows import DAY, HOUR
from lessee.core.consumers import Consumer
from lessee.core.immutable import replace
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.service import AT_ONCE, BUSY, LOOK
from lessee.ops.rotate.policy.status_view import status
from support.models.rotation_service import SECRET, Driven, Machine, plan

NOW = 1_000_000.0
ROTATED = Journal(rotated_at=NOW - 10.0, count=3)
NOT_NOW = plan(HOUR)
CREATED = Journal(step=Step.CREATED, started_at=NOW - 5.0, pending={"password": "canary"})


def published(ago=0.0, **changes):
    moments = {"started_at": NOW - ago - 1.0, "published_at": NOW - ago, "rotated_at": NOW - ago}
    return Journal(step=Step.PUBLISHED, published_version=7, **moments, **changes)


def told_of(driven):
    return status(driven.state, driven.now, environment="testing", trouble=None)


def test_it_looks_first_and_does_nothing_before_it_knows():
    driven = Driven()
    assert driven.tell(s.Configured({"one": plan(10.0), "two": NOT_NOW})) == [s.Look(("one", "two"), {"one", "two"})]
    assert driven.tick(100.0) == []
    assert not told_of(driven)["ready"]
    assert driven.look(one=Journal(rotated_at=1.0), two=ROTATED) == [
        s.Rotate("one", 1.0, open_only=False),
        s.Look(("one", "two"), frozenset()),
    ]
    assert told_of(driven)["ready"]


def test_what_is_missed_many_times_is_made_up_for_once():
    driven = Driven(one=plan(HOUR))
    assert driven.look(one=Journal(rotated_at=NOW - 100 * HOUR)) == [s.Rotate("one", NOW - 100 * HOUR, open_only=False)]
    assert driven.tell(s.Ended("one", Journal(rotated_at=NOW))) == []
    assert driven.state.targets["one"].at == NOW + HOUR


def test_one_that_was_never_rotated_is_so_within_a_minute():
    world = Machine(one=plan(DAY, jitter=HOUR))
    world.run(NOW + 61.0)
    assert len(world.at["one"]) == 1


def test_what_was_begun_is_finished_at_once_whatever_the_windows_say():
    driven = Driven(one=plan(DAY, windows=["mon 02:00-02:01"]), two=plan(DAY, windows=["mon 02:00-02:01"]))
    commands = driven.look(one=CREATED, two=Journal())
    assert commands == [s.Rotate("one", 0.0, open_only=True)]
    assert driven.target().journal.pending == {}  # A value is nothing that it needs.


def test_outside_its_windows_nothing_is_begun_though_it_is_overdue():
    # A Monday, 13:46:40.
    driven = Driven(one=plan(DAY, windows=["02:00-04:00"]))
    assert driven.look(one=Journal(rotated_at=NOW - 9 * DAY)) == []
    opens = NOW - NOW % DAY + DAY + 2 * HOUR
    assert driven.state.work_at == opens
    driven.now = opens
    assert s.Rotate("one", NOW - 9 * DAY, open_only=False) in driven.tick()


def test_who_had_no_turn_before_his_window_closed_waits_for_the_next():
    windows = ["02:00-04:00"]
    driven = Driven(**{name: plan(DAY, windows=windows) for name in ("one", "two", "three")})
    journals = dict.fromkeys(("one", "two", "three"), Journal(rotated_at=NOW - 9 * DAY))
    driven.now = NOW - NOW % DAY + DAY + 3 * HOUR
    assert len(driven.look(**journals)) == AT_ONCE + 1
    driven.tell(s.Failed("one", "no"), after=2 * HOUR)
    assert driven.state.rotating == {"three"}
    assert driven.target("two").at < driven.now


def test_no_more_than_two_are_under_way_and_those_that_wait_longest_come_first():
    names = ("a", "b", "c", "d")
    driven = Driven(**{name: plan(HOUR) for name in names})
    moments = {"a": 5.0, "b": 4.0, "c": 3.0}
    journals = {name: Journal(rotated_at=NOW - moment * HOUR) for name, moment in moments.items()}
    commands = driven.look(**journals, d=CREATED)
    assert [command.target for command in commands] == ["d", "a"]
    assert [command.target for command in driven.tell(s.Ended("d", ROTATED))] == ["b"]
    assert [command.target for command in driven.tell(s.Ended("a", ROTATED))] == ["c"]


def test_none_is_under_way_twice_though_it_is_taken_out_and_put_in_again():
    driven = Driven(one=plan(1.0))
    driven.look(one=Journal(rotated_at=1.0))
    driven.tell(s.Configured({}))
    assert driven.tick(1.0) == []
    commands = driven.tell(s.Configured({"one": plan(1.0)}))
    assert commands == [s.Look(("one",), {"one"})]
    assert driven.look(one=Journal(rotated_at=1.0)) == []
    assert driven.tell(s.RotationBusy("one")) == [s.Look(("one",), {"one"})]
    assert driven.look(one=Journal(rotated_at=1.0)) == [s.Rotate("one", 1.0, open_only=False)]


@pytest.mark.parametrize(
    "event", [s.Ended("gone", ROTATED), s.Failed("gone", "no"), s.Failed("gone", "no", ROTATED), s.RotationBusy("gone")]
)
def test_what_comes_of_a_target_that_is_no_more_is_nothing(event):
    driven = Driven(one=NOT_NOW)
    driven.look(one=ROTATED)
    assert driven.tell(event) == []
    assert driven.state.targets.keys() == {"one"}


# Consumers.


def test_one_that_waits_for_its_consumers_blocks_no_other_and_is_asked_for_fast_at_first():
    driven = Driven(one=plan(HOUR, consumers=["simba"]), two=plan(HOUR), three=plan(HOUR))
    journals = dict.fromkeys(("two", "three"), Journal(rotated_at=1.0))
    commands = driven.look(one=published(), **journals)
    assert commands == [s.Ask(), s.Rotate("three", 1.0, open_only=False), s.Rotate("two", 1.0, open_only=False)]
    assert driven.tell(s.Asked(())) == []
    assert driven.state.work_at == NOW + 0.1
    assert driven.tick(0.1) == [s.Ask()]
    assert driven.tick(0.1) == []
    assert driven.tell(s.Asked((Consumer("simba", "host-1", {SECRET: 6}),))) == [s.Ask()]
    assert told_of(driven)["targets"]["one"]["missing"] == ["simba/host-1"]
    driven.tell(s.Ended("two", ROTATED))
    commands = driven.tell(s.Asked((Consumer("simba", "host-1", {SECRET: 7}),)))
    assert commands == [s.Rotate("one", NOW, open_only=True)]


def test_where_nobody_could_be_known_before_the_whole_time_is_waited():
    driven = Driven(one=plan(HOUR, within=60.0))
    driven.look(one=published(announced=False))
    assert driven.tell(s.Asked((Consumer("simba", "host-1", {SECRET: 7}),))) == []
    assert s.Rotate("one", NOW, open_only=True) in driven.tick(60.0)


@pytest.mark.parametrize(("ago", "often"), [(1.0, 0.1), (10.0, 1.0), (100.0, 5.0)])
def test_the_longer_it_waits_the_less_often_it_asks(ago, often):
    driven = Driven(one=NOT_NOW)
    assert driven.look(one=published(ago)) == [s.Ask()]
    driven.tell(s.Asked(()))
    assert driven.state.work_at == NOW + often


def test_those_who_do_not_confirm_are_waited_for_no_longer_than_is_said():
    driven = Driven(one=plan(HOUR, within=60.0))
    driven.look(one=published())
    driven.tell(s.Asked((Consumer("simba", "host-1", {SECRET: 6}),)))
    commands = driven.tick(60.0)
    assert s.Rotate("one", NOW, open_only=True) in commands
    assert told_of(driven)["targets"]["one"]["missing"] == ["simba/host-1"]
    driven.tell(s.Ended("one", Journal(rotated_at=NOW, missing=("simba/host-1",))))
    assert told_of(driven)["targets"]["one"]["missing"] == ["simba/host-1"]


def test_who_was_there_when_it_was_asked_and_is_not_when_it_is_retired_is_asked_again():
    driven = Driven(one=NOT_NOW)
    driven.look(one=published())
    driven.tell(s.Asked((Consumer("simba", "host-1", {SECRET: 7}),)))
    assert driven.state.rotating == {"one"}
    assert driven.tell(s.Ended("one", published()), after=1.0) == [s.Ask()]


def test_what_is_kept_is_removed_when_its_time_is_over_and_else_when_there_is_a_new_one():
    keeping = Journal(step=Step.KEEPING, rotated_at=NOW - 1.0, keep_until=NOW + 60.0)
    driven = Driven(one=plan(HOUR), two=plan(30.0), three=plan())
    assert driven.look(one=keeping, two=keeping, three=keeping) == []
    assert driven.tick(29.0) == [s.Rotate("two", NOW - 1.0, open_only=False)]
    commands = driven.tick(31.0)
    assert s.Rotate("one", NOW - 1.0, open_only=True) in commands
    driven.tell(s.Ended("one", ROTATED))
    assert driven.state.rotating == {"two", "three"}


def test_a_period_shorter_than_the_measured_time_is_refused_and_told_once():
    driven = Driven(one=plan(60.0), two=plan(60.0))
    slow = Journal(rotated_at=NOW - DAY, propagations=(61.0,))
    assert driven.look(one=slow, two=published(100.0, propagations=(61.0,))) == [s.Ask()]
    driven.look(one=slow)
    assert driven.events() == ["period too short"] * 2
    [first, second] = told_of(driven)["problems"]
    assert "61.0 s" in first
    assert "1m" in second
    assert told_of(driven)["targets"]["one"]["next"] is None
    # What has begun is brought to its end all the same.
    driven.tell(s.Asked((Consumer("simba", "host-1", {SECRET: 7}),)))
    assert driven.state.rotating == {"two"}
    commands = driven.tell(s.Configured({"one": plan(120.0), "two": plan(60.0)}))
    assert s.Rotate("one", NOW - DAY, open_only=False) in commands


# Failures.


def test_after_three_failures_in_a_row_a_person_hears_of_it_once():
    driven = Driven(one=plan(DAY))
    driven.look(one=Journal(rotated_at=1.0))
    for expected in ("rotation is tried again", "rotation is tried again", "rotation keeps failing"):
        assert told_of(driven)["fresh"]
        driven.tell(s.Failed("one", "refused", Journal(rotated_at=1.0, failures=1)))
        assert driven.events() == [expected]
        driven.now = driven.target().again_at
        driven.tick()
        assert driven.state.rotating == {"one"}
    assert told_of(driven)["problems"] == ["one: 3 failures in a row; the old credential stays valid: refused"]
    driven.tell(s.Failed("one", "refused"))
    assert driven.events() == ["rotation is tried again"]
    driven.now = driven.target().again_at
    driven.tick()
    driven.tell(s.Ended("one", Journal(rotated_at=driven.now)))
    assert told_of(driven)["fresh"]
    assert driven.target().failures == 0


def test_what_has_begun_is_tried_again_each_minute_however_often_it_failed():
    driven = Driven(one=plan(30 * DAY))
    driven.look(one=CREATED)
    for _ in range(20):
        driven.tell(s.Failed("one", "refused", CREATED))
        assert driven.target().again_at <= driven.now + 60.0
        driven.now = driven.target().again_at
        driven.tick()
        assert driven.state.rotating == {"one"}


def test_failures_put_it_off_also_after_a_start_but_not_what_is_open():
    failed = {"failures": 2, "failed_at": NOW - 1.0, "error": "refused"}
    driven = Driven(one=plan(DAY), two=plan(DAY))
    commands = driven.look(
        one=Journal(rotated_at=1.0, **failed), two=Journal(step=Step.CREATED, started_at=NOW - 9.0, **failed)
    )
    assert commands == [s.Rotate("two", 0.0, open_only=True)]
    assert NOW + 58.0 < driven.state.targets["one"].at < NOW + 120.0
    assert told_of(driven)["targets"]["one"]["failures"] == 2


def test_who_rotates_it_by_hand_ends_the_failures():
    driven = Driven(one=plan(DAY))
    driven.look(one=Journal(rotated_at=1.0))
    driven.tell(s.Failed("one", "refused"))
    driven.look(one=Journal(rotated_at=NOW + 1.0))
    assert driven.target().failures == 0
    assert driven.target().at == NOW + 1.0 + DAY


def test_an_edit_lets_what_failed_be_tried_at_once():
    driven = Driven(one=plan(DAY))
    driven.look(one=Journal(rotated_at=1.0))
    assert driven.tell(s.Failed("one", "refused")) == []
    commands = driven.tell(s.Configured({"one": plan(DAY)}))
    assert s.Rotate("one", 1.0, open_only=False) in commands


def test_where_another_is_at_it_that_is_no_failure():
    driven = Driven(one=plan(DAY))
    driven.look(one=Journal(rotated_at=1.0))
    assert driven.tell(s.RotationBusy("one")) == []
    assert driven.tick(BUSY) == [s.Rotate("one", 1.0, open_only=False)]
    assert driven.target().failures == 0
    assert driven.events() == []


def test_a_target_in_failure_holds_up_no_other():
    world = Machine(one=plan(HOUR), two=plan(HOUR))
    world.failing = lambda name, _now: "refused" if name == "one" else None
    world.run(NOW + DAY)
    assert len(world.at["two"]) >= 23
    # A tenth of an hour is the longest wait.
    assert 24 * 9 < len(world.at["one"]) < 24 * 30
    assert [tell.event for _, tell in world.told].count("rotation keeps failing") == 1


# Vault.


def test_while_vault_is_away_one_question_finds_out_whether_it_is_back():
    driven = Driven(one=plan(HOUR))
    driven.look(one=ROTATED)
    driven.tick(LOOK)
    assert driven.tell(s.VaultUnavailable("no answer")) == []
    assert driven.events() == ["vault cannot be asked"]
    assert not told_of(driven)["vault"]["reachable"]
    for _ in range(20):
        assert driven.state.wake_at <= driven.now + 50.0
        driven.now = driven.state.wake_at
        assert driven.tick() == [s.Look(("one",), frozenset())]
        assert driven.tick() == []
        assert driven.tell(s.VaultUnavailable("no answer")) == []
    assert driven.events() == []
    driven.now = max(driven.state.wake_at, NOW + 2 * HOUR)
    driven.tick()
    assert driven.look() == [s.Rotate("one", NOW - 10.0, open_only=False)]
    assert driven.events() == ["vault can be asked again"]
    assert told_of(driven)["fresh"]


def test_who_asks_for_confirmations_finds_out_too():
    driven = Driven(one=plan(HOUR))
    driven.look(one=published())
    driven.tell(s.VaultUnavailable("no answer"))
    driven.tell(s.Asked(()))
    assert driven.events() == ["vault cannot be asked", "vault can be asked again"]


def test_where_vault_does_not_answer_one_target_it_is_asked_again_sooner():
    driven = Driven(one=plan(10 * DAY), two=plan(HOUR))
    driven.look(one=Journal(rotated_at=1.0), two=ROTATED)
    commands = driven.tell(s.VaultUnavailable("sealed", "one"), after=1.0)
    assert commands == [s.Look(("one", "two"), frozenset())]
    assert driven.target().again_at <= driven.now + 2.0
    assert driven.events() == ["rotation is tried again"]
    driven.tell(s.VaultUnavailable("sealed"))
    driven.look()
    driven.now = driven.target().again_at
    assert driven.tick() == [s.Rotate("one", 1.0, open_only=False)]


def test_a_person_hears_of_a_server_that_does_not_answer_when_it_has_lasted():
    driven = Driven(one=plan(DAY))
    driven.look(one=Journal(rotated_at=1.0))
    began = driven.now
    while not told_of(driven)["problems"]:
        assert driven.now - began < 120.0
        driven.tell(s.VaultUnavailable("sealed", "one"))
        driven.look()
        driven.now = driven.target().again_at
        assert driven.tick() == [s.Rotate("one", 1.0, open_only=False)]
    assert driven.now - began > 60.0
    assert driven.events().count("rotation keeps failing") == 1


def test_a_journal_that_cannot_be_read_is_told_once_and_nothing_is_done_to_its_target():
    driven = Driven(one=plan(HOUR), two=plan(HOUR))
    assert driven.look({"one": "denied"}, two=ROTATED) == []
    driven.look({"one": "denied"})
    assert driven.events() == ["journal cannot be read"]
    said = told_of(driven)
    assert said["problems"] == ["one: its journal cannot be read: denied"]
    assert said["targets"]["one"]["error"] == "denied"
    assert driven.look(one=Journal(rotated_at=1.0)) == [s.Rotate("one", 1.0, open_only=False)]
    driven.tell(s.Ended("one", Journal(rotated_at=1.0)))
    driven.tick(2 * HOUR)
    driven.look({"two": "denied"})
    assert driven.state.rotating == {"one", "two"}
    driven.tell(s.Ended("two", ROTATED), after=2 * HOUR)
    assert "two" not in driven.state.rotating


def test_a_look_tells_nothing_of_what_is_under_way():
    driven = Driven(one=plan(HOUR))
    driven.look(one=Journal(rotated_at=1.0))
    driven.look(one=CREATED)
    assert driven.target().journal.step is Step.IDLE


# Clocks.


def test_a_clock_that_is_set_back_puts_nothing_off():
    driven = Driven(one=plan(HOUR), two=plan(HOUR), three=plan(HOUR))
    driven.look(one=published(), two=ROTATED)
    assert driven.tell(s.Asked(())) == []
    driven.tell(s.Failed("two", "no"))
    driven.events()
    asked, rotated, looked = driven.tick(-DAY)
    assert (asked, rotated) == (s.Ask(), s.Rotate("two", 0.0, open_only=False))
    assert looked == s.Look(("one", "two", "three"), {"three"})
    assert driven.events() == ["the clock was set back"]
    assert driven.tick(299.0) == []
    assert s.Rotate("one", 0.0, open_only=True) in driven.tick(1.0)


def test_a_clock_that_is_set_back_makes_vault_s_absence_no_longer():
    driven = Driven(one=plan(HOUR))
    for _ in range(9):
        driven.tell(s.VaultUnavailable("away"), after=HOUR)
    assert driven.tick(-DAY) == [s.Look(("one",), {"one"})]
    driven.tell(s.VaultUnavailable("away"))
    assert 0.0 < driven.state.wake_at - driven.now < 5.0


def test_clocks_may_differ_by_a_little():
    driven = Driven(one=plan(HOUR))
    driven.look(one=ROTATED)
    assert driven.tick(-59.0) == []
    assert driven.events() == []


def test_a_moment_that_a_wrong_clock_noted_puts_nothing_off():
    driven = Driven(one=plan(HOUR), two=NOT_NOW, three=plan())
    far = {"failures": 9, "failed_at": NOW + DAY, "error": "no"}
    kept = Journal(step=Step.KEEPING, confirmed_at=NOW + DAY, keep_until=NOW + 2 * DAY, rotated_at=NOW)
    commands = driven.look(one=Journal(rotated_at=NOW + DAY), two=replace(ROTATED, **far), three=kept)
    assert s.Rotate("one", 0.0, open_only=False) in commands
    assert s.Rotate("three", NOW, open_only=True) in commands
    assert driven.target("two").again_at <= NOW + HOUR


# Configurations.


@pytest.mark.parametrize("journal", [CREATED, published(), Journal(step=Step.KEEPING, keep_until=NOW + DAY)])
def test_a_target_that_is_taken_out_before_its_old_credential_is_retired_is_told(journal):
    driven = Driven(one=NOT_NOW, two=NOT_NOW)
    driven.look(one=journal, two=ROTATED)
    driven.events()
    driven.tell(s.Configured({}))
    assert [(told.level, told.fields["target"], told.fields["step"]) for told in driven.told] == [
        ("warning", "one", journal.step.value)
    ]
    assert driven.events() == ["target taken out in the middle of a rotation"]


def test_one_that_is_under_way_is_told_though_nothing_was_seen_of_it_since_it_was_put_in_again():
    driven = Driven(one=plan(HOUR))
    driven.look(one=Journal(rotated_at=1.0))
    for plans in ({}, {"one": plan(HOUR)}, {}):
        driven.tell(s.Configured(plans))
    assert [told.fields["step"] for told in driven.told if "taken out" in told.event] == ["idle", "unknown"]


def test_a_target_of_which_nothing_was_seen_yet_is_taken_out_without_a_word():
    driven = Driven(one=NOT_NOW)
    driven.tell(s.Configured({}))
    assert driven.events() == []


def test_at_the_end_nothing_is_begun_any_more():
    driven = Driven(one=plan(1.0), two=plan(1.0))
    driven.look(one=Journal(rotated_at=1.0), two=ROTATED)
    assert driven.tell(s.Stopping()) == []
    assert driven.tell(s.Ended("one", ROTATED), after=DAY) == []
    assert driven.tick(DAY) == []
    assert driven.state.wake_at == float("inf")


def test_the_status_tells_how_far_each_is():
    driven = Driven(one=plan(DAY), two=plan())
    driven.look(one=Journal(rotated_at=NOW - HOUR, count=4, propagations=(2.0, 1.25)), two=CREATED)
    said = status(driven.state, NOW, environment="testing", trouble="lessee.yaml:1: no")
    assert said["environment"] == "testing"
    assert said["problems"] == ["the configuration's last edit is not in force: lessee.yaml:1: no"]
    assert said["targets"]["one"] == {
        "step": "idle",
        "under_way": False,
        "open_for": None,
        "last": "1970-01-12T12:46:40.000+00:00",
        "next": "1970-01-13T12:46:40.000+00:00",
        "every": DAY,
        "count": 4,
        "confirmed_in": 1.25,
        "missing": [],
        "failures": 0,
        "failing": False,
        "failed": None,
        "error": None,
    }
    two = said["targets"]["two"]
    assert (two["step"], two["under_way"], two["open_for"], two["next"]) == ("created", True, 5.0, None)
    driven.look(two=published())
    assert told_of(driven)["targets"]["two"]["missing"] == []
    assert "canary" not in repr(driven.state)


@settings(max_examples=50)
@given(st.data())
def test_in_any_order_of_events_no_target_is_under_way_twice_and_each_question_is_open_once(data):
    names = ("a", "b", "c")
    driven = Driven(**{name: plan(20.0, jitter=5.0, consumers=["simba"]) for name in names})
    rotating, looks, asks = set(), 1, 0
    journals = st.builds(
        Journal,
        step=st.sampled_from(Step),
        rotated_at=st.sampled_from([0.0, NOW, NOW + 50.0]),
        published_at=st.just(NOW),
        failures=st.integers(0, 4),
        propagations=st.sampled_from([(), (30.0,)]),
    )
    for _ in range(data.draw(st.integers(1, 20))):
        choices = [s.Tick(), s.Configured({name: plan(20.0) for name in data.draw(st.sets(st.sampled_from(names)))})]
        if looks:
            choices += [s.Looked({name: data.draw(journals) for name in names}), s.VaultUnavailable("no")]
        if asks:
            choices += [s.Asked(()), s.Asked((Consumer("simba", "host-1", {SECRET: 1}),))]
        if rotating:
            name = data.draw(st.sampled_from(sorted(rotating)))
            choices += [
                s.Ended(name, data.draw(journals)),
                s.Failed(name, "no"),
                s.RotationBusy(name),
                s.VaultUnavailable("no", name),
            ]
        event = data.draw(st.sampled_from(choices))
        match event:
            case s.Looked() | s.VaultUnavailable(_, None):
                looks = 0
                asks = 0 if isinstance(event, s.VaultUnavailable) else asks
            case s.Asked():
                asks = 0
            case s.Ended(name) | s.Failed(name) | s.RotationBusy(name) | s.VaultUnavailable(_, name):
                rotating.remove(name)
        for command in driven.tell(event, after=data.draw(st.sampled_from([0.0, 1.0, 40.0]))):
            match command:
                case s.Look():
                    looks += 1
                case s.Ask():
                    asks += 1
                case s.Rotate(name):
                    assert name not in rotating
                    rotating.add(name)
        assert looks <= 1
        assert asks <= 1
        assert len(rotating) <= AT_ONCE
        assert rotating == driven.state.rotating
