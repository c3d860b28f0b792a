"""When a child is started, stopped and restarted, and when supervision ends."""

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
    """A supervision and its child, if there is one; it checks what must never happen."""

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
def restarting():
    """A supervision that restarts a failed child three times within ten seconds."""
    world = World(Restart(max_attempts=3, window=10.0))
    world(StartRequested())
    return world


@pytest.mark.parametrize("code", [0, 3, 143])
def test_without_a_restart_policy_supervision_ends_with_the_child(world, code):
    assert world(Exited(code)) == (REAP,)
    assert world.state.phase == Finished(code)


def test_a_child_is_not_started_twice(world):
    assert world(StartRequested()) == ()


@pytest.mark.parametrize("restart", [None, Restart(max_attempts=3, window=10.0)])
def test_a_missing_program_is_not_tried_again(restart):
    world = World(restart)
    world(StartRequested())
    world.children = 0  # it did not start
    world(StartFailed(127))
    assert world.state.phase == Finished(127)


def test_a_requested_restart_stops_the_child_and_kills_its_group_before_a_new_one_starts(world):
    assert world(RestartRequested(stop_grace_period=5)) == (TERMINATE,)
    assert wake_at(world.state) == 5
    assert world(Tick(), after=4.9) == ()
    assert world(Exited(143)) == (KILL, REAP, START)
    assert world.state.phase == Running()
    assert wake_at(world.state) == NEVER


def test_a_child_that_outlasts_the_grace_period_is_killed_once(world):
    world(RestartRequested(stop_grace_period=5))
    assert world(Tick(), after=5) == (KILL,)
    assert wake_at(world.state) == NEVER
    assert world(Tick(), after=100) == ()
    assert world(Exited(137)) == (KILL, REAP, START)


def test_a_second_restart_request_neither_signals_again_nor_extends_the_time(world):
    world(RestartRequested(stop_grace_period=5))
    assert world(RestartRequested(stop_grace_period=50), after=1) == ()
    assert wake_at(world.state) == 5


def test_a_restart_request_before_the_start_or_after_the_end_does_nothing():
    world = World()
    assert world(RestartRequested(stop_grace_period=5)) == ()
    assert world.state.phase == Idle()
    world(StartRequested())
    world(Exited(0))
    assert world(RestartRequested(stop_grace_period=5)) == ()


def test_a_stop_ends_supervision_with_the_childs_code(restarting):
    assert restarting(StopRequested(TERM)) == ()
    assert restarting(Exited(7)) == (REAP,)
    assert restarting.state.phase == Finished(7)


def test_a_stop_has_precedence_over_a_requested_restart(world):
    world(RestartRequested(stop_grace_period=5))
    world(StopRequested(TERM))
    assert world(Tick(), after=5) == (KILL,)
    assert world(RestartRequested(stop_grace_period=5)) == ()
    assert world(Exited(137)) == (REAP,)
    assert world.state.phase == Finished(137)


def test_a_stop_before_the_first_start_ends_supervision_with_the_signals_code():
    world = World()
    assert world(StopRequested(TERM)) == ()
    assert world.state.phase == Finished(143)


def test_a_stop_between_two_children_ends_supervision_with_the_signals_code(restarting):
    restarting(Exited(1))
    restarting(StopRequested(INT))
    assert restarting.state.phase == Finished(130)


def test_a_child_that_fails_is_started_again_with_a_growing_backoff_until_it_failed_too_often(restarting):
    for delay in (0.1, 0.2, 0.4):
        assert restarting(Exited(3)) == (KILL, REAP)
        at = restarting.now + delay
        assert restarting.state.phase == BackingOff(at)
        assert wake_at(restarting.state) == at
        assert restarting(Tick(), after=delay - 0.01) == ()
        assert restarting(Tick(), after=0.02) == (START,)
    assert restarting(Exited(3)) == (REAP,)
    assert restarting.state.phase == Finished(3, gave_up=True)
    assert wake_at(restarting.state) == NEVER


@pytest.mark.long
def test_the_backoff_has_a_cap_and_no_overflow():
    world = World(Restart(max_attempts=5000, window=1e9))
    world(StartRequested())
    for _ in range(2000):
        world(Exited(1))
        assert wake_at(world.state) - world.now <= 10.0
        world(Tick(), after=10)
    assert world.state.phase == Running()


def test_a_child_that_ran_long_enough_has_all_attempts_and_the_shortest_backoff_again(restarting):
    for _ in range(10):
        restarting(Exited(1), after=10.1)
        assert restarting.state.phase == BackingOff(restarting.now + 0.1)
        restarting(Tick(), after=0.1)


@pytest.mark.parametrize("code", [0, 130])
def test_a_child_that_succeeded_or_was_interrupted_is_not_restarted(restarting, code):
    restarting(Exited(code))
    assert restarting.state.phase == Finished(code)


def test_a_requested_restart_does_not_wait_for_the_backoff(restarting):
    restarting(Exited(1))
    assert restarting(RestartRequested(stop_grace_period=5)) == (START,)


def test_requested_restarts_are_not_counted_as_failures(restarting):
    for _ in range(50):
        restarting(RestartRequested(stop_grace_period=5))
        restarting(Exited(143))
    assert restarting.state.phase == Running()
    assert restarting.state.failed_at == ()


@pytest.mark.parametrize("restart", [None, Restart(max_attempts=3, window=10.0)])
def test_a_child_that_fails_with_a_rejected_generation_is_restarted_with_the_previous_one_and_not_counted(restart):
    world = World(restart)
    world(StartRequested())
    assert world(Exited(3, rolls_back=True)) == (KILL, REAP)
    assert world(Tick(), after=ROLLBACK_TIMEOUT / 2) == ()
    assert world(RestartRequested(5.0)) == (START,)
    assert world.state.failed_at == ()


def test_without_a_rollback_in_time_supervision_ends_with_the_code(world):
    world(Exited(3, rolls_back=True))
    assert isinstance(world.state.phase, AwaitingRollback)
    assert world(Tick(), after=ROLLBACK_TIMEOUT) == ()
    assert world.state.phase == Finished(3)


def test_a_stop_during_a_rollback_ends_supervision(world):
    world(Exited(3, rolls_back=True))
    world(StopRequested(TERM))
    assert world.state.phase == Finished(143)


@pytest.mark.parametrize("code", [0, 130])
def test_a_child_that_succeeded_ends_supervision_despite_a_rollback(world, code):
    world(Exited(code, rolls_back=True))
    assert world.state.phase == Finished(code)


def test_a_server_at_a_pipe_gets_end_of_input_then_sigterm_and_then_sigkill(world):
    assert world(RestartRequested(stop_grace_period=5, linger=1)) == (Action.CLOSE_INPUT,)
    assert wake_at(world.state) == 1
    assert world(Tick(), after=1) == (TERMINATE,)
    assert wake_at(world.state) == 6
    assert world(Tick(), after=5) == (KILL,)
    assert world(Exited(137)) == (KILL, REAP, START)


def test_a_server_that_has_answered_once_is_restarted_when_it_fails():
    world = World()
    world(StartRequested())
    world(FirstResponse(Restart(max_attempts=1, window=10.0)))
    assert world(Exited(1)) == (KILL, REAP)
    world(Tick(), after=1)
    assert world(Exited(1)) == (REAP,)
    assert world.state.phase == Finished(1, gave_up=True)


def test_a_configured_restart_policy_stays_in_force(restarting):
    restarting(FirstResponse(Restart(max_attempts=100, window=10.0)))
    assert restarting.state.restart == Restart(max_attempts=3, window=10.0)


@pytest.mark.parametrize("code", [0, 7])
def test_a_client_that_disconnects_ends_supervision_with_the_servers_code(restarting, code):
    assert restarting(ClientDisconnected(stop_grace_period=1, linger=3)) == (Action.CLOSE_INPUT,)
    assert restarting(ClientDisconnected(stop_grace_period=1, linger=3)) == ()
    assert restarting(Tick(), after=3) == (TERMINATE,)
    assert restarting(Tick(), after=1) == (KILL,)
    assert restarting(Exited(code)) == (REAP,)
    assert restarting.state.phase == Finished(code)


def test_a_client_that_disconnects_between_two_servers_ends_supervision(restarting):
    restarting(Exited(1))
    assert restarting(ClientDisconnected(stop_grace_period=1, linger=3)) == ()
    assert restarting.state.phase == Finished(143)


def test_a_client_that_disconnects_during_a_restart_gets_no_new_server(world):
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


@pytest.mark.no_cover
@given(RESTARTS, st.lists(st.tuples(EVENTS, st.floats(0, 15)), max_size=60))
def test_there_are_never_two_children_or_too_many_failures_and_the_end_is_final(restart, events):
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
    # Without events it settles, and every requested tick has an effect.
    before = world.state
    while (at := wake_at(world.state)) != NEVER:
        world.now = max(world.now, at)
        assert world(Tick()) or world.state.phase != before.phase
        before = world.state
