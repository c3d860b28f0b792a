"""The decisions of the rotation service."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.config.time_windows import DAY, HOUR
from lessee.core.consumers import Consumer
from lessee.core.immutable import replace
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.service import BUSY_RETRY_DELAY, CHECK_INTERVAL, MAX_CONCURRENT_ROTATIONS
from lessee.ops.rotate.policy.status_view import status
from support.models.rotation_service import SECRET, ServiceDriver, SimulatedService, target

NOW = 1_000_000.0
ROTATED = Journal(rotated_at=NOW - 10.0, count=3)
NOT_NOW = target(HOUR)
CREATED = Journal(step=Step.CREATED, started_at=NOW - 5.0, pending={"password": "canary"})


def published(ago=0.0, **changes):
    moments = {"started_at": NOW - ago - 1.0, "published_at": NOW - ago, "rotated_at": NOW - ago}
    return Journal(step=Step.PUBLISHED, published_version=7, **moments, **changes)


def status_of(service):
    return status(service.state, service.now, environment="testing", reload_error=None)


def test_journals_are_read_before_anything_is_rotated():
    service = ServiceDriver()
    assert service.send(s.Configured({"one": target(10.0), "two": NOT_NOW})) == [
        s.ReadJournals(("one", "two"), {"one", "two"})
    ]
    assert service.tick(100.0) == []
    assert not status_of(service)["ready"]
    assert service.read_journals(one=Journal(rotated_at=1.0), two=ROTATED) == [
        s.Rotate("one", 1.0, finish_only=False),
        s.ReadJournals(("one", "two"), frozenset()),
    ]
    assert status_of(service)["ready"]


def test_a_target_overdue_by_many_periods_is_rotated_once():
    service = ServiceDriver(one=target(HOUR))
    assert service.read_journals(one=Journal(rotated_at=NOW - 100 * HOUR)) == [
        s.Rotate("one", NOW - 100 * HOUR, finish_only=False)
    ]
    assert service.send(s.RotationEnded("one", Journal(rotated_at=NOW))) == []
    assert service.state.targets["one"].next_action_at == NOW + HOUR


def test_a_new_target_is_rotated_within_a_minute():
    simulation = SimulatedService(one=target(DAY, jitter=HOUR))
    simulation.run(NOW + 61.0)
    assert len(simulation.rotated_at["one"]) == 1


def test_an_open_rotation_is_finished_outside_its_windows():
    service = ServiceDriver(one=target(DAY, windows=["mon 02:00-02:01"]), two=target(DAY, windows=["mon 02:00-02:01"]))
    commands = service.read_journals(one=CREATED, two=Journal())
    assert commands == [s.Rotate("one", 0.0, finish_only=True)]
    assert service.target().journal.pending == {}  # The service needs no value.


def test_an_overdue_target_waits_for_its_window():
    # A Monday, 13:46:40.
    service = ServiceDriver(one=target(DAY, windows=["02:00-04:00"]))
    assert service.read_journals(one=Journal(rotated_at=NOW - 9 * DAY)) == []
    opens = NOW - NOW % DAY + DAY + 2 * HOUR
    assert service.state.next_work_at == opens
    service.now = opens
    assert s.Rotate("one", NOW - 9 * DAY, finish_only=False) in service.tick()


def test_a_target_that_missed_its_window_waits_for_the_next():
    windows = ["02:00-04:00"]
    service = ServiceDriver(**{name: target(DAY, windows=windows) for name in ("one", "two", "three")})
    journals = dict.fromkeys(("one", "two", "three"), Journal(rotated_at=NOW - 9 * DAY))
    service.now = NOW - NOW % DAY + DAY + 3 * HOUR
    assert len(service.read_journals(**journals)) == MAX_CONCURRENT_ROTATIONS + 1
    service.send(s.RotationFailed("one", "no"), after=2 * HOUR)
    assert service.state.rotating == {"three"}
    assert service.target("two").next_action_at < service.now


def test_at_most_two_rotations_run_and_the_longest_due_is_first():
    names = ("a", "b", "c", "d")
    service = ServiceDriver(**{name: target(HOUR) for name in names})
    moments = {"a": 5.0, "b": 4.0, "c": 3.0}
    journals = {name: Journal(rotated_at=NOW - moment * HOUR) for name, moment in moments.items()}
    commands = service.read_journals(**journals, d=CREATED)
    assert [command.target for command in commands] == ["d", "a"]
    assert [command.target for command in service.send(s.RotationEnded("d", ROTATED))] == ["b"]
    assert [command.target for command in service.send(s.RotationEnded("a", ROTATED))] == ["c"]


def test_a_target_removed_and_added_again_is_not_rotated_twice():
    service = ServiceDriver(one=target(1.0))
    service.read_journals(one=Journal(rotated_at=1.0))
    service.send(s.Configured({}))
    assert service.tick(1.0) == []
    commands = service.send(s.Configured({"one": target(1.0)}))
    assert commands == [s.ReadJournals(("one",), {"one"})]
    assert service.read_journals(one=Journal(rotated_at=1.0)) == []
    assert service.send(s.RotationBusy("one")) == [s.ReadJournals(("one",), {"one"})]
    assert service.read_journals(one=Journal(rotated_at=1.0)) == [s.Rotate("one", 1.0, finish_only=False)]


@pytest.mark.parametrize(
    "event",
    [
        s.RotationEnded("gone", ROTATED),
        s.RotationFailed("gone", "no"),
        s.RotationFailed("gone", "no", ROTATED),
        s.RotationBusy("gone"),
    ],
)
def test_results_of_removed_targets_are_ignored(event):
    service = ServiceDriver(one=NOT_NOW)
    service.read_journals(one=ROTATED)
    assert service.send(event) == []
    assert service.state.targets.keys() == {"one"}


# Consumers.


def test_a_wait_for_consumers_blocks_no_other_target():
    service = ServiceDriver(one=target(HOUR, consumers=["simba"]), two=target(HOUR), three=target(HOUR))
    journals = dict.fromkeys(("two", "three"), Journal(rotated_at=1.0))
    commands = service.read_journals(one=published(), **journals)
    assert commands == [
        s.ReadConfirmations(),
        s.Rotate("three", 1.0, finish_only=False),
        s.Rotate("two", 1.0, finish_only=False),
    ]
    assert service.send(s.ConfirmationsRead(())) == []
    assert service.state.next_work_at == NOW + 0.1
    assert service.tick(0.1) == [s.ReadConfirmations()]
    assert service.tick(0.1) == []
    assert service.send(s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 6}),))) == [s.ReadConfirmations()]
    assert status_of(service)["targets"]["one"]["unconfirmed_consumers"] == ["simba/host-1"]
    service.send(s.RotationEnded("two", ROTATED))
    commands = service.send(s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 7}),)))
    assert commands == [s.Rotate("one", NOW, finish_only=True)]


def test_unknown_consumers_get_the_whole_confirmation_timeout():
    service = ServiceDriver(one=target(HOUR, confirmation_timeout=60.0))
    service.read_journals(one=published(consumers_known=False))
    assert service.send(s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 7}),))) == []
    assert s.Rotate("one", NOW, finish_only=True) in service.tick(60.0)


@pytest.mark.parametrize(("ago", "often"), [(1.0, 0.1), (10.0, 1.0), (100.0, 5.0)])
def test_confirmations_are_polled_less_often_over_time(ago, often):
    service = ServiceDriver(one=NOT_NOW)
    assert service.read_journals(one=published(ago)) == [s.ReadConfirmations()]
    service.send(s.ConfirmationsRead(()))
    assert service.state.next_work_at == NOW + often


def test_unconfirmed_consumers_are_waited_for_until_the_timeout():
    service = ServiceDriver(one=target(HOUR, confirmation_timeout=60.0))
    service.read_journals(one=published())
    service.send(s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 6}),)))
    commands = service.tick(60.0)
    assert s.Rotate("one", NOW, finish_only=True) in commands
    assert status_of(service)["targets"]["one"]["unconfirmed_consumers"] == ["simba/host-1"]
    service.send(s.RotationEnded("one", Journal(rotated_at=NOW, missing=("simba/host-1",))))
    assert status_of(service)["targets"]["one"]["unconfirmed_consumers"] == ["simba/host-1"]


def test_confirmations_are_read_again_after_a_rotation_that_still_waits():
    service = ServiceDriver(one=NOT_NOW)
    service.read_journals(one=published())
    service.send(s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 7}),)))
    assert service.state.rotating == {"one"}
    assert service.send(s.RotationEnded("one", published()), after=1.0) == [s.ReadConfirmations()]


def test_disabled_credentials_are_deleted_after_their_delay_or_before_a_rotation():
    retaining = Journal(step=Step.RETAINING, rotated_at=NOW - 1.0, delete_at=NOW + 60.0)
    service = ServiceDriver(one=target(HOUR), two=target(30.0), three=target())
    assert service.read_journals(one=retaining, two=retaining, three=retaining) == []
    assert service.tick(29.0) == [s.Rotate("two", NOW - 1.0, finish_only=False)]
    commands = service.tick(31.0)
    assert s.Rotate("one", NOW - 1.0, finish_only=True) in commands
    service.send(s.RotationEnded("one", ROTATED))
    assert service.state.rotating == {"two", "three"}


def test_a_period_shorter_than_the_propagation_time_is_logged_once():
    service = ServiceDriver(one=target(60.0), two=target(60.0))
    slow = Journal(rotated_at=NOW - DAY, propagation_times=(61.0,) * 3)
    assert service.read_journals(one=slow, two=published(100.0, propagation_times=(61.0,) * 3)) == [
        s.ReadConfirmations()
    ]
    service.read_journals(one=slow)
    assert service.logged_events() == ["rotation period too short"] * 2
    [first, second] = status_of(service)["problems"]
    assert "61.0 s" in first
    assert "1m" in second
    assert status_of(service)["targets"]["one"]["next_rotation_at"] is None
    # An open rotation is finished nevertheless.
    service.send(s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 7}),)))
    assert service.state.rotating == {"two"}
    commands = service.send(s.Configured({"one": target(120.0), "two": target(60.0)}))
    assert s.Rotate("one", NOW - DAY, finish_only=False) in commands


# Failures.


def test_after_three_consecutive_failures_an_error_is_logged_once():
    service = ServiceDriver(one=target(DAY))
    service.read_journals(one=Journal(rotated_at=1.0))
    for expected in ("rotation retry scheduled", "rotation retry scheduled", "rotation failed repeatedly"):
        assert status_of(service)["fresh"]
        service.send(s.RotationFailed("one", "refused", Journal(rotated_at=1.0, failures=1)))
        assert service.logged_events() == [expected]
        service.now = service.target().next_retry_at
        service.tick()
        assert service.state.rotating == {"one"}
    assert status_of(service)["problems"] == ["one: 3 consecutive failures; the old credential stays valid: refused"]
    service.send(s.RotationFailed("one", "refused"))
    assert service.logged_events() == ["rotation retry scheduled"]
    service.now = service.target().next_retry_at
    service.tick()
    service.send(s.RotationEnded("one", Journal(rotated_at=service.now)))
    assert status_of(service)["fresh"]
    assert service.target().failures == 0


def test_an_open_rotation_is_retried_every_minute():
    service = ServiceDriver(one=target(30 * DAY))
    service.read_journals(one=CREATED)
    for _ in range(20):
        service.send(s.RotationFailed("one", "refused", CREATED))
        assert service.target().next_retry_at <= service.now + 60.0
        service.now = service.target().next_retry_at
        service.tick()
        assert service.state.rotating == {"one"}


def test_failures_before_a_restart_delay_only_new_rotations():
    failed = {"failures": 2, "failed_at": NOW - 1.0, "error": "refused"}
    service = ServiceDriver(one=target(DAY), two=target(DAY))
    commands = service.read_journals(
        one=Journal(rotated_at=1.0, **failed), two=Journal(step=Step.CREATED, started_at=NOW - 9.0, **failed)
    )
    assert commands == [s.Rotate("two", 0.0, finish_only=True)]
    assert NOW + 58.0 < service.state.targets["one"].next_action_at < NOW + 120.0
    assert status_of(service)["targets"]["one"]["consecutive_failures"] == 2


def test_a_manual_rotation_resets_the_failures():
    service = ServiceDriver(one=target(DAY))
    service.read_journals(one=Journal(rotated_at=1.0))
    service.send(s.RotationFailed("one", "refused"))
    service.read_journals(one=Journal(rotated_at=NOW + 1.0))
    assert service.target().failures == 0
    assert service.target().next_action_at == NOW + 1.0 + DAY


def test_a_new_configuration_retries_failed_targets_immediately():
    service = ServiceDriver(one=target(DAY))
    service.read_journals(one=Journal(rotated_at=1.0))
    assert service.send(s.RotationFailed("one", "refused")) == []
    commands = service.send(s.Configured({"one": target(DAY)}))
    assert s.Rotate("one", 1.0, finish_only=False) in commands


def test_a_target_that_another_rotator_rotates_is_not_a_failure():
    service = ServiceDriver(one=target(DAY))
    service.read_journals(one=Journal(rotated_at=1.0))
    assert service.send(s.RotationBusy("one")) == []
    assert service.tick(BUSY_RETRY_DELAY) == [s.Rotate("one", 1.0, finish_only=False)]
    assert service.target().failures == 0
    assert service.logged_events() == []


def test_a_failing_target_delays_no_other():
    simulation = SimulatedService(one=target(HOUR), two=target(HOUR))
    simulation.failure = lambda name, _now: "refused" if name == "one" else None
    simulation.run(NOW + DAY)
    assert len(simulation.rotated_at["two"]) >= 23
    # The longest delay is a tenth of an hour.
    assert 24 * 9 < len(simulation.rotated_at["one"]) < 24 * 30
    assert [log.event for _, log in simulation.logged].count("rotation failed repeatedly") == 1


# Vault.


def test_in_an_outage_one_request_at_a_time_checks_vault():
    service = ServiceDriver(one=target(HOUR))
    service.read_journals(one=ROTATED)
    service.tick(CHECK_INTERVAL)
    assert service.send(s.VaultUnavailable("no answer")) == []
    assert service.logged_events() == ["vault unavailable"]
    assert not status_of(service)["vault"]["reachable"]
    for _ in range(20):
        assert service.state.wake_at <= service.now + 50.0
        service.now = service.state.wake_at
        assert service.tick() == [s.ReadJournals(("one",), frozenset())]
        assert service.tick() == []
        assert service.send(s.VaultUnavailable("no answer")) == []
    assert service.logged_events() == []
    service.now = max(service.state.wake_at, NOW + 2 * HOUR)
    service.tick()
    assert service.read_journals() == [s.Rotate("one", NOW - 10.0, finish_only=False)]
    assert service.logged_events() == ["vault available"]
    assert status_of(service)["fresh"]
    ended = service.state
    assert (ended.outage_since, ended.outage_attempts, ended.outage_reason, ended.outage_retry_at) == (0.0, 0, "", 0.0)


def test_read_confirmations_end_an_outage_too():
    service = ServiceDriver(one=target(HOUR))
    service.read_journals(one=published())
    service.send(s.VaultUnavailable("no answer"))
    service.send(s.ConfirmationsRead(()))
    assert service.logged_events() == ["vault unavailable", "vault available"]


def test_an_outage_of_one_target_is_retried_sooner():
    service = ServiceDriver(one=target(10 * DAY), two=target(HOUR))
    service.read_journals(one=Journal(rotated_at=1.0), two=ROTATED)
    commands = service.send(s.VaultUnavailable("sealed", "one"), after=1.0)
    assert commands == [s.ReadJournals(("one", "two"), frozenset())]
    assert service.target().next_retry_at <= service.now + 2.0
    assert service.logged_events() == ["rotation retry scheduled"]
    service.send(s.VaultUnavailable("sealed"))
    service.read_journals()
    service.now = service.target().next_retry_at
    assert service.tick() == [s.Rotate("one", 1.0, finish_only=False)]


def test_an_outage_counts_as_failing_after_a_minute():
    service = ServiceDriver(one=target(DAY))
    service.read_journals(one=Journal(rotated_at=1.0))
    began = service.now
    while not status_of(service)["problems"]:
        assert service.now - began < 120.0
        service.send(s.VaultUnavailable("sealed", "one"))
        service.read_journals()
        service.now = service.target().next_retry_at
        assert service.tick() == [s.Rotate("one", 1.0, finish_only=False)]
    assert service.now - began > 60.0
    assert service.logged_events().count("rotation failed repeatedly") == 1


def test_an_unreadable_journal_is_logged_once_and_its_target_not_rotated():
    service = ServiceDriver(one=target(HOUR), two=target(HOUR))
    assert service.read_journals({"one": "denied"}, two=ROTATED) == []
    service.read_journals({"one": "denied"})
    assert service.logged_events() == ["journal unreadable"]
    found = status_of(service)
    assert found["problems"] == ["one: its journal cannot be read: denied"]
    assert found["targets"]["one"]["error"] == "denied"
    assert service.read_journals(one=Journal(rotated_at=1.0)) == [s.Rotate("one", 1.0, finish_only=False)]
    service.send(s.RotationEnded("one", Journal(rotated_at=1.0)))
    service.tick(2 * HOUR)
    service.read_journals({"two": "denied"})
    assert service.state.rotating == {"one", "two"}
    service.send(s.RotationEnded("two", ROTATED), after=2 * HOUR)
    assert "two" not in service.state.rotating


def test_a_journal_read_during_a_rotation_is_ignored():
    service = ServiceDriver(one=target(HOUR))
    service.read_journals(one=Journal(rotated_at=1.0))
    service.read_journals(one=CREATED)
    assert service.target().journal.step is Step.IDLE


# Clocks.


def test_a_clock_that_is_set_back_delays_nothing():
    service = ServiceDriver(one=target(HOUR), two=target(HOUR), three=target(HOUR))
    service.read_journals(one=published(), two=ROTATED)
    assert service.send(s.ConfirmationsRead(())) == []
    service.send(s.RotationFailed("two", "no"))
    service.logged_events()
    confirmations, rotated, journals = service.tick(-DAY)
    assert (confirmations, rotated) == (s.ReadConfirmations(), s.Rotate("two", 0.0, finish_only=False))
    assert journals == s.ReadJournals(("one", "two", "three"), {"three"})
    assert service.logged_events() == ["clock set back"]
    assert service.tick(299.0) == []
    assert s.Rotate("one", 0.0, finish_only=True) in service.tick(1.0)


def test_a_clock_that_is_set_back_does_not_lengthen_an_outage():
    service = ServiceDriver(one=target(HOUR))
    for _ in range(9):
        service.send(s.VaultUnavailable("away"), after=HOUR)
    assert service.tick(-DAY) == [s.ReadJournals(("one",), {"one"})]
    service.send(s.VaultUnavailable("away"))
    assert 0.0 < service.state.wake_at - service.now < 5.0


def test_a_small_clock_skew_is_ignored():
    service = ServiceDriver(one=target(HOUR))
    service.read_journals(one=ROTATED)
    assert service.tick(-59.0) == []
    assert service.logged_events() == []


def test_a_timestamp_in_the_future_delays_nothing():
    service = ServiceDriver(one=target(HOUR), two=NOT_NOW, three=target())
    far = {"failures": 9, "failed_at": NOW + DAY, "error": "no"}
    retaining = Journal(step=Step.RETAINING, confirmed_at=NOW + DAY, delete_at=NOW + 2 * DAY, rotated_at=NOW)
    commands = service.read_journals(one=Journal(rotated_at=NOW + DAY), two=replace(ROTATED, **far), three=retaining)
    assert s.Rotate("one", 0.0, finish_only=False) in commands
    assert s.Rotate("three", NOW, finish_only=True) in commands
    assert service.target("two").next_retry_at <= NOW + HOUR


# Configurations.


@pytest.mark.parametrize("journal", [CREATED, published(), Journal(step=Step.RETAINING, delete_at=NOW + DAY)])
def test_removing_a_target_with_an_open_rotation_is_logged(journal):
    service = ServiceDriver(one=NOT_NOW, two=NOT_NOW)
    service.read_journals(one=journal, two=ROTATED)
    service.logged_events()
    service.send(s.Configured({}))
    assert [(log.level, log.fields["target"], log.fields["step"]) for log in service.logged] == [
        ("warning", "one", journal.step.value)
    ]
    assert service.logged_events() == ["target removed during rotation"]


def test_removing_a_running_target_is_logged_without_its_journal():
    service = ServiceDriver(one=target(HOUR))
    service.read_journals(one=Journal(rotated_at=1.0))
    for plans in ({}, {"one": target(HOUR)}, {}):
        service.send(s.Configured(plans))
    assert [log.fields["step"] for log in service.logged if "removed" in log.event] == ["idle", "unknown"]


def test_removing_a_target_that_was_never_read_is_not_logged():
    service = ServiceDriver(one=NOT_NOW)
    service.send(s.Configured({}))
    assert service.logged_events() == []


def test_after_stopping_nothing_is_started():
    service = ServiceDriver(one=target(1.0), two=target(1.0))
    service.read_journals(one=Journal(rotated_at=1.0), two=ROTATED)
    assert service.send(s.Stopping()) == []
    assert service.send(s.RotationEnded("one", ROTATED), after=DAY) == []
    assert service.tick(DAY) == []
    assert service.state.wake_at == float("inf")


def test_the_status_has_each_target_s_progress():
    service = ServiceDriver(one=target(DAY), two=target())
    service.read_journals(one=Journal(rotated_at=NOW - HOUR, count=4, propagation_times=(2.0, 1.25)), two=CREATED)
    found = status(service.state, NOW, environment="testing", reload_error="lessee.yaml:1: no")
    assert found["environment"] == "testing"
    assert found["vault"] == {"reachable": True, "last_checked_at": "1970-01-12T13:46:40.000+00:00"}
    unchecked = status(ServiceDriver(one=target(DAY)).state, NOW, environment=None, reload_error=None)
    assert unchecked["vault"] == {"reachable": True, "last_checked_at": None}
    assert found["problems"] == ["the last change of the configuration is not in use: lessee.yaml:1: no"]
    assert found["targets"]["one"] == {
        "step": "idle",
        "in_progress": False,
        "open_seconds": None,
        "last_rotated_at": "1970-01-12T12:46:40.000+00:00",
        "next_rotation_at": "1970-01-13T12:46:40.000+00:00",
        "entry_due": False,
        "rotation_period": DAY,
        "rotation_count": 4,
        "propagation_seconds": 1.25,
        "unconfirmed_consumers": [],
        "consecutive_failures": 0,
        "failing": False,
        "last_failed_at": None,
        "error": None,
    }
    two = found["targets"]["two"]
    assert (two["step"], two["in_progress"], two["open_seconds"], two["next_rotation_at"]) == (
        "created",
        True,
        5.0,
        None,
    )
    service.read_journals(two=published())
    assert status_of(service)["targets"]["two"]["unconfirmed_consumers"] == []
    assert "canary" not in repr(service.state)


@pytest.mark.long
@settings(max_examples=50)
@given(st.data())
def test_in_any_order_of_events_no_target_is_rotated_twice_and_each_read_runs_once(data):
    names = ("a", "b", "c")
    service = ServiceDriver(**{name: target(20.0, jitter=5.0, consumers=["simba"]) for name in names})
    rotating, reading_journals, reading_confirmations = set(), 1, 0
    journals = st.builds(
        Journal,
        step=st.sampled_from(Step),
        rotated_at=st.sampled_from([0.0, NOW, NOW + 50.0]),
        published_at=st.just(NOW),
        failures=st.integers(0, 4),
        propagation_times=st.sampled_from([(), (30.0,)]),
    )
    for _ in range(data.draw(st.integers(1, 20))):
        choices = [s.Tick(), s.Configured({name: target(20.0) for name in data.draw(st.sets(st.sampled_from(names)))})]
        if reading_journals:
            choices += [s.JournalsRead({name: data.draw(journals) for name in names}), s.VaultUnavailable("no")]
        if reading_confirmations:
            choices += [s.ConfirmationsRead(()), s.ConfirmationsRead((Consumer("simba", "host-1", {SECRET: 1}),))]
        if rotating:
            name = data.draw(st.sampled_from(sorted(rotating)))
            choices += [
                s.RotationEnded(name, data.draw(journals)),
                s.RotationFailed(name, "no"),
                s.RotationBusy(name),
                s.VaultUnavailable("no", name),
            ]
        event = data.draw(st.sampled_from(choices))
        match event:
            case s.JournalsRead() | s.VaultUnavailable(_, None):
                reading_journals = 0
                reading_confirmations = 0 if isinstance(event, s.VaultUnavailable) else reading_confirmations
            case s.ConfirmationsRead():
                reading_confirmations = 0
            case s.RotationEnded(name) | s.RotationFailed(name) | s.RotationBusy(name) | s.VaultUnavailable(_, name):
                rotating.remove(name)
        for command in service.send(event, after=data.draw(st.sampled_from([0.0, 1.0, 40.0]))):
            match command:
                case s.ReadJournals():
                    reading_journals += 1
                case s.ReadConfirmations():
                    reading_confirmations += 1
                case s.Rotate(name):
                    assert name not in rotating
                    rotating.add(name)
        assert reading_journals <= 1
        assert reading_confirmations <= 1
        assert len(rotating) <= MAX_CONCURRENT_ROTATIONS
        assert rotating == service.state.rotating


def test_a_rotation_that_waits_for_servers_is_continued_soon_and_delays_no_other():
    service = ServiceDriver(one=target(HOUR), two=NOT_NOW)
    service.read_journals(one=CREATED, two=ROTATED)
    assert service.send(s.RotationEnded("one", CREATED)) == []
    assert service.state.rotating == frozenset()
    assert service.target().next_action_at == service.now + BUSY_RETRY_DELAY
    assert service.tick(BUSY_RETRY_DELAY) == [s.Rotate("one", 0.0, finish_only=True)]
    assert service.send(s.RotationEnded("one", ROTATED)) == []
    assert service.target().next_retry_at == 0.0


def test_a_manual_target_is_never_rotated_and_its_operator_is_reminded_once_a_day():
    service = ServiceDriver(one=target(DAY, manual=True))
    assert service.read_journals(one=Journal(rotated_at=NOW - 3 * DAY)) == []
    assert service.logged_events() == ["credential due to be entered"]
    assert service.state.wake_at <= service.now + DAY
    service.tick(DAY - 1.0)
    service.read_journals(one=Journal(rotated_at=NOW - 3 * DAY, count=1))
    assert service.logged_events() == []
    service.tick(2.0)
    (reminder,) = service.logged
    assert reminder.level == "warning"
    assert reminder.fields == {
        "target": "one",
        "age_days": 4.0,
        "todo": "create a new one, and run `lessee rotate one --enter`",
    }
    found = status_of(service)
    assert found["targets"]["one"]["entry_due"]
    (problem,) = found["problems"]
    assert problem.startswith("one: due, last rotated 1970-01-09T13:46:40.000+00:00: create a new credential, and run")


def test_a_manual_target_that_was_never_rotated_is_due():
    service = ServiceDriver(one=target(DAY, manual=True))
    assert service.read_journals(one=Journal()) == []
    assert service.logged[0].fields["age_days"] == "unknown"
    assert "never rotated" in status_of(service)["problems"][0]


def test_a_manual_target_that_is_not_due_wakes_the_service_when_it_is():
    service = ServiceDriver(one=target(DAY, manual=True), two=target(manual=True))
    service.read_journals(one=Journal(rotated_at=NOW - HOUR), two=ROTATED)
    assert service.logged_events() == []
    assert service.state.next_work_at == NOW - HOUR + DAY
    assert not status_of(service)["targets"]["one"]["entry_due"]
    service.tick(DAY)
    assert service.logged_events() == ["credential due to be entered"]


def test_a_value_that_an_operator_has_entered_is_finished_without_one():
    service = ServiceDriver(one=target(HOUR, manual=True), two=target(HOUR, manual=True))
    commands = service.read_journals(one=Journal(rotated_at=NOW - DAY), two=CREATED)
    assert commands == [s.Rotate("two", 0.0, finish_only=True)]
    assert service.logged_events() == ["credential due to be entered"]


def test_refused_credentials_pause_everything_and_are_checked_every_five_seconds():
    service = ServiceDriver(one=target(HOUR), two=target(HOUR), three=target(HOUR))
    service.read_journals(**dict.fromkeys(("one", "two", "three"), Journal(rotated_at=1.0)))
    assert service.state.rotating == {"one", "three"}
    assert service.send(s.LoginRefused("no", "one")) == []
    assert service.send(s.LoginRefused("no", "three")) == []
    assert service.logged_events() == ["rotation retry scheduled", "login failed", "rotation retry scheduled"]
    service.send(s.LoginRefused("no"))  # The check that was under way.
    for _ in range(100):
        assert service.tick(4.9) == []
        assert service.tick(0.2) == [s.ReadJournals(("one", "two", "three"), frozenset())]
        service.send(s.LoginRefused("no"))
    assert service.logged_events() == []
    assert status_of(service)["problems"] == ["Vault refuses the login: no"]
    assert not status_of(service)["ready"]
    service.send(s.LoginRefused("another reason"), after=5.1)
    assert service.logged_events() == ["login failed"]
    service.tick(5.1)
    commands = service.read_journals()
    assert service.logged_events() == ["vault available"]
    assert {command.target for command in commands if isinstance(command, s.Rotate)} <= {"one", "two", "three"}
    assert status_of(service)["problems"] == []


def test_an_outage_after_a_refused_login_is_logged_as_one():
    service = ServiceDriver(one=NOT_NOW)
    service.send(s.LoginRefused("no"))
    service.send(s.VaultUnavailable("connection refused"), after=5.1)
    assert service.logged_events() == ["login failed", "vault unavailable"]
    assert status_of(service)["problems"] == ["Vault is unavailable: connection refused"]


def test_a_refused_login_for_a_removed_target_pauses_the_others():
    service = ServiceDriver(one=target(HOUR))
    service.read_journals(one=Journal(rotated_at=1.0))
    service.send(s.Configured({}))
    service.send(s.LoginRefused("no", "one"))
    assert status_of(service)["problems"] == ["Vault refuses the login: no"]


def test_a_target_without_consumers_reads_no_confirmations():
    service = ServiceDriver(one=replace(target(HOUR), has_consumers=False, revoke_delay=5.0))
    confirmed = published(1.0, confirmed_at=NOW - 1.0)
    assert service.read_journals(one=confirmed) == []
    assert service.target().next_action_at == NOW + 4.0
    assert service.read_journals(one=published(1.0)) == [s.Rotate("one", NOW - 1.0, finish_only=True)]
