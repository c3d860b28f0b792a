"""What a time stamp of a file was on the boot clock, although a program sets the wall clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.host import clock
from lessee.host.clock import boot_times, recall_wall_clock, watch_wall_clock

EPOCH = 1_700_000_000.0


@pytest.fixture
def machine(monkeypatch):
    """Two clocks that only the test moves, and of which nothing was seen yet."""
    machine = Machine()
    monkeypatch.setattr(clock, "boot_time", machine.boot_time)
    monkeypatch.setattr(clock, "wall_time", machine.wall_time)
    monkeypatch.setattr(clock, "_periods", ())
    return machine


class Machine:
    def __init__(self):
        self.now, self.ahead, self.interruptions = 1000.0, EPOCH, []

    def boot_time(self):
        return self.now

    def wall_time(self):
        at = self.now + self.ahead
        self.now += self.interruptions.pop() if self.interruptions else 0.0
        return at


def near(at):
    return pytest.approx(at, abs=0.001)


@pytest.mark.parametrize("step", [3600.0, 5.0, -5.0, -3600.0, 1e9])
def test_a_time_stamp_from_before_the_clock_was_set_is_what_it_was(machine, step):
    watch_wall_clock()
    machine.now += 7200
    watch_wall_clock()
    stamp = machine.wall_time() - 4000.0
    machine.now += 5
    machine.ahead += step
    assert boot_times(stamp) == [near(machine.now - 4005.0)]
    machine.now += 5
    assert boot_times(machine.wall_time())[-1] == near(machine.now)


def test_a_time_that_the_clock_showed_twice_has_two_moments(machine):
    watch_wall_clock()
    machine.now += 100
    watch_wall_clock()
    machine.ahead -= 60
    watch_wall_clock()
    machine.now += 100
    assert boot_times(machine.now + machine.ahead - 70) == [near(machine.now - 130), near(machine.now - 70)]


def test_a_time_that_the_clock_never_showed_is_as_the_clock_shows_it_now(machine):
    watch_wall_clock()
    machine.now += 100
    machine.ahead += 3600
    skipped = machine.now + machine.ahead - 1800
    assert boot_times(skipped) == [near(machine.now - 1800)]


def test_a_step_is_known_after_a_restart_of_the_agent(machine):
    watch_wall_clock()
    stamp = machine.wall_time()
    machine.now += 100
    machine.ahead += 3600
    stored = watch_wall_clock()
    assert [period.ahead for period in stored] == [near(EPOCH), near(EPOCH + 3600)]
    recall_wall_clock([])
    assert boot_times(stamp) == [near(1000.0 - 3600)]
    recall_wall_clock(stored)
    assert boot_times(stamp) == [near(1000.0)]


def test_ever_new_steps_and_slow_changes_take_bounded_memory(machine):
    for _ in range(300):
        machine.now += 1
        machine.ahead += 10
        watch_wall_clock()
    assert len(watch_wall_clock()) == 64
    before = watch_wall_clock()
    for _ in range(300):
        machine.now += 1
        machine.ahead += 0.01
        assert boot_times(machine.wall_time()) == [near(machine.now)]
    assert len(watch_wall_clock()) == 64
    assert watch_wall_clock()[-1].first_seen == before[-1].first_seen


def test_an_interruption_between_the_clocks_is_no_step(machine):
    watch_wall_clock()
    machine.now += 100
    machine.interruptions = [3.0, 3.0]
    assert boot_times(machine.now + machine.ahead) == [near(1100.0)]
    stamp, moment = machine.now + machine.ahead, machine.now
    machine.interruptions = [3.0] * 10
    assert boot_times(stamp) == [near(moment)]
    assert len(watch_wall_clock()) == 1


def test_the_first_look_is_used_however_inexact(machine):
    machine.interruptions = [0.5] * 5
    (period,) = watch_wall_clock()
    assert period.ahead == pytest.approx(EPOCH, abs=0.5)


@given(
    steps=st.lists(st.tuples(st.floats(10, 5000), st.floats(-4000, 4000)), max_size=8),
    at=st.floats(0, 1),
)
def test_the_moment_of_a_time_stamp_is_always_among_its_moments(steps, at):
    machine = Machine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "boot_time", machine.boot_time)
        patch.setattr(clock, "wall_time", machine.wall_time)
        patch.setattr(clock, "_periods", ())
        watch_wall_clock()
        stamps = []
        for seconds, step in steps:
            moment = machine.now + at * seconds
            stamps.append((moment + machine.ahead, moment))
            machine.now += seconds
            watch_wall_clock()
            machine.ahead += step
            watch_wall_clock()
        for stamp, moment in stamps:
            assert any(abs(found - moment) < 0.2 * len(steps) for found in boot_times(stamp))
