"""Decides when the child of `lessee exec` is started, told to end and started again, and when all is over."""

from enum import Enum, auto
from typing import assert_never

from lessee.config import Restart
from lessee.core.immutable import Record, replace

BACKOFF = 0.1
"""Seconds before a child that failed is started again; twice as many after each further failure."""
LONGEST_BACKOFF = 10.0
GOING_BACK = 10.0
"""Seconds that what was before may take to be back."""
_BY_SIGNAL = 128
_TERM = 15
_INTERRUPTED = _BY_SIGNAL + 2
"""What ended by SIGINT, was ended by a person at the terminal: the signal goes to the child there, and not to us."""


class Action(Enum):
    """What is to be done to the child."""

    START = auto()
    CLOSE = auto()
    """Its input: who serves a pipe ends by that."""
    TERMINATE = auto()
    KILL = auto()
    """Its whole process group, or what is left of it."""
    REAP = auto()
    """It has ended: its status is taken, and its pid may pass to another."""


class Begin(Record, frozen=True):
    """All is there that the child needs."""


class Ended(Record, frozen=True):
    """The child has ended; by signal n, it is with 128 + n.

    `goes_back`: it did not bear what it was started anew with, and what was before is on its way back.
    """

    code: int
    goes_back: bool = False


class NotStarted(Record, frozen=True):
    """There is no such program, or it may not be run."""

    code: int


class Asked(Record, frozen=True):
    """The child is to be started anew; SIGKILL comes `grace` seconds after SIGTERM.

    With `linger` its input is closed first, and SIGTERM comes so many seconds later.
    """

    grace: float
    linger: float = 0.0


class Works(Record, frozen=True):
    """The child has shown that it does: where nothing else was said, it is started again as often as this."""

    restart: Restart


class Hungup(Record, frozen=True):
    """Who speaks to the child by its input is gone: it is to end, as by `Asked`, and with it all."""

    grace: float
    linger: float


class Stop(Record, frozen=True):
    """A signal that is meant to end it, which the child was sent too where there is one."""

    signal: int


class Tick(Record, frozen=True):
    """Time has passed."""


Event = Begin | Ended | NotStarted | Asked | Works | Hungup | Stop | Tick


class Idle(Record, frozen=True):
    """There was no child yet."""


class Running(Record, frozen=True):
    """There is a child."""


class Leaving(Record, frozen=True):
    """There is a child that was told to end; it is killed at this time."""

    kill_at: float
    terminate_at: float = float("inf")
    """When it is sent SIGTERM, where that was not done."""


class Waiting(Record, frozen=True):
    """There is no child until this time, for the last one failed."""

    until: float


class Held(Record, frozen=True):
    """There is no child until one is asked for, with what was before; at this time it is over with its code."""

    code: int
    until: float


class Over(Record, frozen=True):
    """There is no child, and none will come. `gave_up`: it failed too often."""

    code: int
    gave_up: bool = False


Phase = Idle | Running | Leaving | Waiting | Held | Over


class Supervision(Record, frozen=True):
    """The child as far as it matters for what comes next."""

    restart: Restart | None
    """How often a child that fails is started again."""
    phase: Phase = Idle()
    stopping: bool = False
    """The child was sent a signal that is meant to end it: when it does, all is over."""
    failed_at: tuple[float, ...] = ()
    """When children failed that were started again, as far back as `restart.within`."""


Next = tuple[Supervision, tuple[Action, ...]]


def step(state: Supervision, event: Event, now: float) -> Next:
    """What comes next, and what is to be done in this order."""
    match event:
        case Begin():
            return _start(state) if isinstance(state.phase, Idle) else (state, ())
        case Ended():
            return _ended(state, event, now)
        case NotStarted():
            return _over(state, event.code)
        case Asked():
            return _asked(state, event, now)
        case Works():
            return replace(state, restart=state.restart or event.restart), ()
        case Hungup():
            return _hungup(state, event, now)
        case Stop():
            return _stop(state, event.signal)
        case Tick():
            return _tick(state, now)
        case _:
            assert_never(event)


def wake_at(state: Supervision) -> float:
    """When a Tick will find something to do."""
    match state.phase:
        case Leaving(kill_at=at, terminate_at=before):
            return min(at, before)
        case Waiting(until=at) | Held(until=at):
            return at
        case _:
            return float("inf")


def _ended(state: Supervision, event: Ended, now: float) -> Next:
    code = event.code
    if state.stopping:
        return _over(state, code, Action.REAP)
    if isinstance(state.phase, Leaving):
        return _start(state, Action.KILL, Action.REAP)
    if code in {0, _INTERRUPTED}:
        return _over(state, code, Action.REAP)
    if event.goes_back:
        return replace(state, phase=Held(code, now + GOING_BACK)), (Action.KILL, Action.REAP)
    if state.restart is None:
        return _over(state, code, Action.REAP)
    return _failed(state, state.restart, code, now)


def _failed(state: Supervision, restart: Restart, code: int, now: float) -> Next:
    recent = tuple(at for at in state.failed_at if at > now - restart.within)
    if len(recent) >= restart.attempts:
        return replace(state, phase=Over(code, gave_up=True)), (Action.REAP,)
    # One that ran for `within` begins anew: it has no recent failures.
    delay = min(BACKOFF * 2 ** min(len(recent), 10), LONGEST_BACKOFF)
    return replace(state, phase=Waiting(now + delay), failed_at=(*recent, now)), (Action.KILL, Action.REAP)


def _asked(state: Supervision, event: Asked, now: float) -> Next:
    if state.stopping:
        return state, ()
    match state.phase:
        case Running() if event.linger:
            return _linger(state, event, now)
        case Running():
            return replace(state, phase=Leaving(now + event.grace)), (Action.TERMINATE,)
        case Waiting() | Held():
            return _start(state)
        case _:  # It is on its way already, or it has not begun and will find the newest, or it is too late.
            return state, ()


def _linger(state: Supervision, event: Asked | Hungup, now: float) -> Next:
    terminate_at = now + event.linger
    return replace(state, phase=Leaving(terminate_at + event.grace, terminate_at)), (Action.CLOSE,)


def _hungup(state: Supervision, event: Hungup, now: float) -> Next:
    state, actions = _stop(state, _TERM)
    return _linger(state, event, now) if isinstance(state.phase, Running) else (state, actions)


def _stop(state: Supervision, number: int) -> Next:
    match state.phase:
        case Idle() | Waiting() | Held():
            return _over(state, _BY_SIGNAL + number)
        case _:
            return replace(state, stopping=True), ()


def _tick(state: Supervision, now: float) -> Next:
    if now < wake_at(state):
        return state, ()
    match state.phase:
        case Waiting():
            return _start(state)
        case Held(code=code):
            return _over(state, code)
        case Leaving(kill_at=kill_at) if now < kill_at:
            return replace(state, phase=Leaving(kill_at)), (Action.TERMINATE,)
        case _:
            return replace(state, phase=Leaving(float("inf"))), (Action.KILL,)


def _start(state: Supervision, *first: Action) -> Next:
    return replace(state, phase=Running()), (*first, Action.START)


def _over(state: Supervision, code: int, *first: Action) -> Next:
    return replace(state, phase=Over(code)), first
