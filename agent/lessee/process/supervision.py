"""Decides when the child of `lessee exec` is started, stopped and restarted, and when supervision ends."""

from enum import Enum, auto
from typing import assert_never

from lessee.config import Restart
from lessee.core.immutable import ImmutableStruct, replace

BACKOFF = 0.1
"""Seconds before a child that failed is started again; doubled after each further failure."""
LONGEST_BACKOFF = 10.0
ROLLBACK_TIMEOUT = 10.0
"""Seconds that a rollback to the previous generation may take."""
_BY_SIGNAL = 128
_TERM = 15
_INTERRUPTED = _BY_SIGNAL + 2
"""The exit code of SIGINT: a person pressed Ctrl-C at the terminal, which sends the signal to the child alone."""


class Action(Enum):
    """What to do with the child."""

    START = auto()
    CLOSE_INPUT = auto()
    """A server at a pipe exits at the end of its input."""
    TERMINATE = auto()
    KILL = auto()
    """Kill its whole process group, or the rest of it."""
    REAP = auto()
    """Collect the status of the child that has ended; another process may then get its pid."""


class StartRequested(ImmutableStruct, frozen=True):
    """Everything that the child needs is there."""


class Exited(ImmutableStruct, frozen=True):
    """The child has ended; `code` is 128 + n for signal n.

    `rolls_back`: it failed with the newest generation, and the previous one is about to be published again.
    """

    code: int
    rolls_back: bool = False


class StartFailed(ImmutableStruct, frozen=True):
    """The program does not exist, or cannot be run."""

    code: int


class RestartRequested(ImmutableStruct, frozen=True):
    """The child must be restarted; SIGKILL follows `stop_grace_period` seconds after SIGTERM.

    With `linger` its input is closed first, and SIGTERM follows so many seconds later.
    """

    stop_grace_period: float
    linger: float = 0.0


class FirstResponse(ImmutableStruct, frozen=True):
    """The child has answered for the first time. Without another policy, `restart` applies from now on."""

    restart: Restart


class ClientDisconnected(ImmutableStruct, frozen=True):
    """The client that the child serves has closed its connection: the child must stop, and supervision ends."""

    stop_grace_period: float
    linger: float


class StopRequested(ImmutableStruct, frozen=True):
    """A signal that ends this process was received. The child, if there is one, got it too."""

    signal: int


class Tick(ImmutableStruct, frozen=True):
    """Time has passed."""


Event = (
    StartRequested | Exited | StartFailed | RestartRequested | FirstResponse | ClientDisconnected | StopRequested | Tick
)


class Idle(ImmutableStruct, frozen=True):
    """No child was started yet."""


class Running(ImmutableStruct, frozen=True):
    """A child runs."""


class Stopping(ImmutableStruct, frozen=True):
    """A child was requested to stop; it is killed at this time."""

    kill_at: float
    terminate_at: float = float("inf")
    """When it is sent SIGTERM, unless it was already."""


class BackingOff(ImmutableStruct, frozen=True):
    """No child runs until this time, because the last one failed."""

    until: float


class AwaitingRollback(ImmutableStruct, frozen=True):
    """No child runs until a restart with the previous generation; at this time supervision ends with the code."""

    code: int
    until: float


class Finished(ImmutableStruct, frozen=True):
    """No child runs, and none will. `gave_up`: it failed too often."""

    code: int
    gave_up: bool = False


Phase = Idle | Running | Stopping | BackingOff | AwaitingRollback | Finished


class Supervision(ImmutableStruct, frozen=True):
    """The state of the child that decides what follows."""

    restart: Restart | None
    """How often a child that fails is started again."""
    phase: Phase = Idle()
    is_final: bool = False
    """A signal that ends this process was received: supervision ends with the child."""
    failed_at: tuple[float, ...] = ()
    """When children failed that were started again, within `restart.window`."""


Next = tuple[Supervision, tuple[Action, ...]]


def step(state: Supervision, event: Event, now: float) -> Next:
    """The next state, and the actions to take in this order."""
    match event:
        case StartRequested():
            return _start(state) if isinstance(state.phase, Idle) else (state, ())
        case Exited():
            return _exited(state, event, now)
        case StartFailed():
            return _finish(state, event.code)
        case RestartRequested():
            return _restart(state, event, now)
        case FirstResponse():
            return replace(state, restart=state.restart or event.restart), ()
        case ClientDisconnected():
            return _disconnected(state, event, now)
        case StopRequested():
            return _stop(state, event.signal)
        case Tick():
            return _tick(state, now)
        case _:
            assert_never(event)


def wake_at(state: Supervision) -> float:
    """The time of the next Tick that changes anything."""
    match state.phase:
        case Stopping(kill_at=at, terminate_at=before):
            return min(at, before)
        case BackingOff(until=at) | AwaitingRollback(until=at):
            return at
        case _:
            return float("inf")


def _exited(state: Supervision, event: Exited, now: float) -> Next:
    code = event.code
    if state.is_final:
        return _finish(state, code, Action.REAP)
    if isinstance(state.phase, Stopping):
        return _start(state, Action.KILL, Action.REAP)
    if code in {0, _INTERRUPTED}:
        return _finish(state, code, Action.REAP)
    if event.rolls_back:
        phase = AwaitingRollback(code, now + ROLLBACK_TIMEOUT)
        return replace(state, phase=phase), (Action.KILL, Action.REAP)
    if state.restart is None:
        return _finish(state, code, Action.REAP)
    return _failed(state, state.restart, code, now)


def _failed(state: Supervision, restart: Restart, code: int, now: float) -> Next:
    recent = tuple(at for at in state.failed_at if at > now - restart.window)
    if len(recent) >= restart.max_attempts:
        return replace(state, phase=Finished(code, gave_up=True)), (Action.REAP,)
    # A child that ran for the whole window has no recent failures, so its backoff starts at the beginning.
    delay = min(BACKOFF * 2 ** min(len(recent), 10), LONGEST_BACKOFF)
    return replace(state, phase=BackingOff(now + delay), failed_at=(*recent, now)), (Action.KILL, Action.REAP)


def _restart(state: Supervision, event: RestartRequested, now: float) -> Next:
    if state.is_final:
        return state, ()
    match state.phase:
        case Running() if event.linger:
            return _close_input(state, event, now)
        case Running():
            return replace(state, phase=Stopping(now + event.stop_grace_period)), (Action.TERMINATE,)
        case BackingOff() | AwaitingRollback():
            return _start(state)
        case _:  # It stops already, or has not started and will find the newest files, or supervision has ended.
            return state, ()


def _close_input(state: Supervision, event: RestartRequested | ClientDisconnected, now: float) -> Next:
    terminate_at = now + event.linger
    phase = Stopping(terminate_at + event.stop_grace_period, terminate_at)
    return replace(state, phase=phase), (Action.CLOSE_INPUT,)


def _disconnected(state: Supervision, event: ClientDisconnected, now: float) -> Next:
    state, actions = _stop(state, _TERM)
    return _close_input(state, event, now) if isinstance(state.phase, Running) else (state, actions)


def _stop(state: Supervision, number: int) -> Next:
    match state.phase:
        case Idle() | BackingOff() | AwaitingRollback():
            return _finish(state, _BY_SIGNAL + number)
        case _:
            return replace(state, is_final=True), ()


def _tick(state: Supervision, now: float) -> Next:
    if now < wake_at(state):
        return state, ()
    match state.phase:
        case BackingOff():
            return _start(state)
        case AwaitingRollback(code=code):
            return _finish(state, code)
        case Stopping(kill_at=kill_at) if now < kill_at:
            return replace(state, phase=Stopping(kill_at)), (Action.TERMINATE,)
        case _:
            return replace(state, phase=Stopping(float("inf"))), (Action.KILL,)


def _start(state: Supervision, *first: Action) -> Next:
    return replace(state, phase=Running()), (*first, Action.START)


def _finish(state: Supervision, code: int, *first: Action) -> Next:
    return replace(state, phase=Finished(code)), first
