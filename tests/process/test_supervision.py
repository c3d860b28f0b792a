"""When a child is started, told to end and started again, and when all is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config import Restart
from lessee.process.supervision import (
    ROLLBACK_TIMEOUT,
    Action,
    AwaitingRollback,
    BackingOff,
    ClientDisconnected,
    Exited,
    Finished,
    FirstResponse,
    Idle,
    RestartRequested,
    Running,
    StartFailed,
    StartRequested,
    Stopping,
    StopRequested,
    Supervision,
    Tick,
    step,
    wake_at,
)

START, TERMINATE, KILL, REAP = Action.START, Action.TERMINATE, Action.KILL, Action.REAP
NEVER = float("inf")
TERM, HUP, INT = 15, 1, 2


class World:
    """A supervision, and a child that is there or not; it finds out at once what must never be."""

    def __init__(self, restart=None):
        self.state, self.now, self.children = Supervision(restart), 0.0, 0

    def __call__(self, event, *, after=0.0):
        self.now += after
        self.state, actions = step(self.state, event, self.now)
        for action in actions:
            self.children += (action is START) - (action is REAP)
            assert self.children in {0, 1}
            assert action is START or self.children + (action is REAP) == 1
        assert (self.children == 1) is isinstance(self.state.phase, Running | Stopping)
        return actions


@pytest.fixture
def world():
    world = World()
    assert world(StartRequested()) == (START,)
    return world


@pytest.fixture
def stubborn():
    """One that starts a child that fails again, three times within ten seconds."""
    world = World(Restart(max_attempts=3, window=10.0))
    world(StartRequested())
    return world


@pytest.mark.parametrize("code", [0, 3, 143])
def test_without_restart_every_end_of_the_child_is_the_end_of_all(world, code):
    assert world(Exited(code)) == (REAP,)
    assert world.state.phase == Finished(code)


def test_begun_once_a_child_is_not_begun_again(world):
    assert world(StartRequested()) == ()


@pytest.mark.parametrize("restart", [None, Restart(max_attempts=3, window=10.0)])
def test_a_program_that_is_not_there_is_not_tried_again(restart):
    world = World(restart)
    world(StartRequested())
    world.children = 0  # it did not come to be
    world(StartFailed(127))
    assert world.state.phase == Finished(127)


def test_an_asked_restart_ends_the_child_and_kills_what_it_leaves_before_a_new_one_starts(world):
    assert world(RestartRequested(stop_grace_period=5)) == (TERMINATE,)
    assert wake_at(world.state) == 5
    assert world(Tick(), after=4.9) == ()
    assert world(Exited(143)) == (KILL, REAP, START)
    assert world.state.phase == Running()
    assert wake_at(world.state) == NEVER


def test_one_that_does_not_end_within_the_grace_is_killed_once(world):
    world(RestartRequested(stop_grace_period=5))
    assert world(Tick(), after=5) == (KILL,)
    assert wake_at(world.state) == NEVER
    assert world(Tick(), after=100) == ()
    assert world(Exited(137)) == (KILL, REAP, START)


def test_asked_again_while_it_is_leaving_it_is_told_once_and_its_time_is_not_extended(world):
    world(RestartRequested(stop_grace_period=5))
    assert world(RestartRequested(stop_grace_period=50), after=1) == ()
    assert wake_at(world.state) == 5


def test_asked_before_it_has_begun_or_after_all_is_over_nothing_is_done():
    world = World()
    assert world(RestartRequested(stop_grace_period=5)) == ()
    assert world.state.phase == Idle()
    world(StartRequested())
    world(Exited(0))
    assert world(RestartRequested(stop_grace_period=5)) == ()


def test_a_stop_ends_all_with_the_childs_code_whatever_that_is(stubborn):
    assert stubborn(StopRequested(TERM)) == ()
    assert stubborn(Exited(7)) == (REAP,)
    assert stubborn.state.phase == Finished(7)


def test_a_stop_goes_before_a_restart_that_was_asked_for_before_or_after(world):
    world(RestartRequested(stop_grace_period=5))
    world(StopRequested(TERM))
    assert world(Tick(), after=5) == (KILL,)
    assert world(RestartRequested(stop_grace_period=5)) == ()
    assert world(Exited(137)) == (REAP,)
    assert world.state.phase == Finished(137)


def test_a_stop_before_there_is_a_child_ends_all_with_the_signals_code():
    world = World()
    assert world(StopRequested(TERM)) == ()
    assert world.state.phase == Finished(143)


def test_a_stop_between_two_children_ends_all_with_the_signals_code(stubborn):
    stubborn(Exited(1))
    stubborn(StopRequested(INT))
    assert stubborn.state.phase == Finished(130)


def test_a_child_that_fails_is_started_again_after_longer_and_longer_until_it_failed_too_often(stubborn):
    for delay in (0.1, 0.2, 0.4):
        assert stubborn(Exited(3)) == (KILL, REAP)
        at = stubborn.now + delay
        assert stubborn.state.phase == BackingOff(at)
        assert wake_at(stubborn.state) == at
        assert stubborn(Tick(), after=delay - 0.01) == ()
        assert stubborn(Tick(), after=0.02) == (START,)
    assert stubborn(Exited(3)) == (REAP,)
    assert stubborn.state.phase == Finished(3, gave_up=True)
    assert wake_at(stubborn.state) == NEVER


def test_the_backoff_has_a_cap_and_no_overflow():
    world = World(Restart(max_attempts=5000, window=1e9))
    world(StartRequested())
    for _ in range(2000):
        world(Exited(1))
        assert wake_at(world.state) - world.now <= 10.0
        world(Tick(), after=10)
    assert world.state.phase == Running()


def test_one_that_ran_long_enough_has_all_its_attempts_and_a_short_wait_again(stubborn):
    for _ in range(10):
        stubborn(Exited(1), after=10.1)
        assert stubborn.state.phase == BackingOff(stubborn.now + 0.1)
        stubborn(Tick(), after=0.1)


@pytest.mark.parametrize("code", [0, 130])
def test_one_that_ended_well_or_by_ctrl_c_is_not_started_again(stubborn, code):
    stubborn(Exited(code))
    assert stubborn.state.phase == Finished(code)


def test_an_asked_restart_does_not_wait_for_the_backoff(stubborn):
    stubborn(Exited(1))
    assert stubborn(RestartRequested(stop_grace_period=5)) == (START,)


def test_asked_restarts_are_not_counted(stubborn):
    for _ in range(50):
        stubborn(RestartRequested(stop_grace_period=5))
        stubborn(Exited(143))
    assert stubborn.state.phase == Running()
    assert stubborn.state.failed_at == ()


@pytest.mark.parametrize("restart", [None, Restart(max_attempts=3, window=10.0)])
def test_one_that_fails_with_what_is_taken_back_is_started_with_what_was_before_and_that_is_not_counted(restart):
    world = World(restart)
    world(StartRequested())
    assert world(Exited(3, rolls_back=True)) == (KILL, REAP)
    assert world(Tick(), after=ROLLBACK_TIMEOUT / 2) == ()
    assert world(RestartRequested(5.0)) == (START,)
    assert world.state.failed_at == ()


def test_where_nothing_comes_back_in_time_all_is_over_with_its_code(world):
    world(Exited(3, rolls_back=True))
    assert isinstance(world.state.phase, AwaitingRollback)
    assert world(Tick(), after=ROLLBACK_TIMEOUT) == ()
    assert world.state.phase == Finished(3)


def test_a_stop_while_what_was_before_comes_back_ends_all(world):
    world(Exited(3, rolls_back=True))
    world(StopRequested(TERM))
    assert world.state.phase == Finished(143)


@pytest.mark.parametrize("code", [0, 130])
def test_one_that_ended_well_is_over_though_something_is_taken_back(world, code):
    world(Exited(code, rolls_back=True))
    assert world.state.phase == Finished(code)


def test_one_at_a_pipe_has_its_input_closed_then_sigterm_and_then_sigkill(world):
    assert world(RestartRequested(stop_grace_period=5, linger=1)) == (Action.CLOSE_INPUT,)
    assert wake_at(world.state) == 1
    assert world(Tick(), after=1) == (TERMINATE,)
    assert wake_at(world.state) == 6
    assert world(Tick(), after=5) == (KILL,)
    assert world(Exited(137)) == (KILL, REAP, START)


def test_a_server_that_has_shown_that_it_works_is_started_again_when_it_fails():
    world = World()
    world(StartRequested())
    world(FirstResponse(Restart(max_attempts=1, window=10.0)))
    assert world(Exited(1)) == (KILL, REAP)
    world(Tick(), after=1)
    assert world(Exited(1)) == (REAP,)
    assert world.state.phase == Finished(1, gave_up=True)


def test_what_was_said_of_failures_before_stays_said(stubborn):
    stubborn(FirstResponse(Restart(max_attempts=100, window=10.0)))
    assert stubborn.state.restart == Restart(max_attempts=3, window=10.0)


@pytest.mark.parametrize("code", [0, 7])
def test_a_client_that_hangs_up_ends_all_as_the_server_does(stubborn, code):
    assert stubborn(ClientDisconnected(stop_grace_period=1, linger=3)) == (Action.CLOSE_INPUT,)
    assert stubborn(ClientDisconnected(stop_grace_period=1, linger=3)) == ()
    assert stubborn(Tick(), after=3) == (TERMINATE,)
    assert stubborn(Tick(), after=1) == (KILL,)
    assert stubborn(Exited(code)) == (REAP,)
    assert stubborn.state.phase == Finished(code)


def test_a_client_that_hangs_up_between_two_servers_ends_all(stubborn):
    stubborn(Exited(1))
    assert stubborn(ClientDisconnected(stop_grace_period=1, linger=3)) == ()
    assert stubborn.state.phase == Finished(143)


def test_a_client_that_hangs_up_while_the_server_is_started_anew_gets_no_other(world):
    world(RestartRequested(stop_grace_period=5, linger=1))
    assert world(ClientDisconnected(stop_grace_period=1, linger=3)) == ()
    assert world(Exited(0)) == (REAP,)


EVENTS = st.one_of(
    st.just(StartRequested()),
    st.just(Tick()),
    st.builds(Exited, st.sampled_from([0, 1, 130, 137, 143]), st.booleans()),
    st.builds(RestartRequested, st.floats(0, 20), st.sampled_from([0.0, 1.0])),
    st.builds(ClientDisconnected, st.floats(0, 20), st.floats(0, 20)),
    st.just(FirstResponse(Restart(max_attempts=2, window=5.0))),
    st.builds(StopRequested, st.sampled_from([TERM, INT])),
)
RESTARTS = st.none() | st.builds(Restart, max_attempts=st.integers(1, 4), window=st.floats(0.5, 60))


@given(RESTARTS, st.lists(st.tuples(EVENTS, st.floats(0, 15)), max_size=60))
def test_there_are_never_two_children_nor_more_failures_than_allowed_and_what_is_over_stays_over(restart, events):
    world = World(restart)
    failures = []
    for event, after in events:
        if isinstance(event, Exited) and not world.children:
            continue
        before = world.state
        actions = world(event, after=after)
        if isinstance(before.phase, Finished):
            assert (world.state.phase, actions) == (before.phase, ())
        if isinstance(world.state.phase, BackingOff) and before.phase != world.state.phase:
            failures.append(world.now)
    restart = restart or Restart(max_attempts=2, window=5.0)
    for last in failures:
        assert len([at for at in failures if last - restart.window < at <= last]) <= restart.max_attempts
    # Time alone brings it to a standstill: no tick is asked for in vain.
    before = world.state
    while (at := wake_at(world.state)) != NEVER:
        world.now = max(world.now, at)
        assert world(Tick()) or world.state.phase != before.phase
        before = world.state
