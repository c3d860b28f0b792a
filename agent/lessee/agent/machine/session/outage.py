"""Bad weather: Vault serves nobody. All asking waits, but for one probe at a time.

something fails ──► suspicion: probe at once ──► served: it was that path's own trouble
                                 │
                                 └──► not served either: told, and probed at growing intervals until it is
"""

from lessee.agent.machine.protocol.commands import SessionCommand, VaultCommand
from lessee.agent.machine.state import Call, Outage
from lessee.agent.machine.transaction import Turn
from lessee.core.backoff import delay
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace

STRAIN = 3
"""So many answers in a row that do not serve are bad weather, though each is told of one path."""
RELAPSE = 15.0
"""Seconds of fair weather that do not yet end the bad one before."""


def is_of_its_path(turn: Turn, call: Call, failure: Failure, *, again: bool) -> bool:
    """Whether a request failed alone: others have been answered since it was sent, or it has failed so before."""
    if failure.kind is not Kind.UNAVAILABLE:
        return True
    session = turn.session
    answered = session.reached_at is not None and session.reached_at > call.sent_at
    return session.weather is None and (again or answered)


def bad_weather(turn: Turn, command: VaultCommand, call: Call, failure: Failure) -> None:
    """Nothing is asked for a while, but to find out whether it is Vault or that one path."""
    session, now = turn.session, turn.now
    is_probe = isinstance(command, SessionCommand)
    if session.weather is None and not is_probe:
        turn.session = replace(session, weather=Outage(since=now, tries=0, next_at=now, text=failure.text))
    elif session.weather is None or (is_probe and call.sent_at >= session.weather.since):
        _not_served(turn, call, failure)
    # What was under way when the weather broke counts as no try of its own.


def _not_served(turn: Turn, call: Call, failure: Failure) -> None:
    weather = _going_on(turn)
    if not weather.tries or weather.text != failure.text:
        turn.tell("warning", "vault is away", reason=failure.text)
    now = turn.now
    wait = delay(weather.tries, turn.draw(), duration=now - weather.since)
    # A probe that hung has waited long enough already.
    next_at = now + turn.wait(max(call.sent_at + wait - now, wait / 4), failure)
    weather = Outage(weather.since, weather.tries + 1, next_at, failure.text, seen_at=now)
    turn.session = replace(turn.session, weather=weather)


def _going_on(turn: Turn) -> Outage:
    """The weather there is, or was a moment ago: a relapse is no new one."""
    session, now = turn.session, turn.now
    weather = session.weather or Outage(since=now, tries=0, next_at=now, text="")
    if not weather.tries and session.past is not None and now - session.back_at < RELAPSE:
        return session.past
    return weather


def strained(turn: Turn, call: Call, failure: Failure) -> None:
    """A path was not served. One is its own affair; several, and nothing served in between, are the server's."""
    session = turn.session
    strain = session.strain + 1
    turn.session = replace(session, strain=strain)
    if session.weather is not None or strain >= STRAIN:
        _not_served(turn, call, failure)


def fair_weather(turn: Turn) -> None:
    """Vault served something, or said clearly why not."""
    session, now = turn.session, turn.now
    weather = session.weather
    if weather is not None and weather.tries:
        turn.tell("info", "vault is back", after=round(now - weather.since, 1))
        session = replace(session, past=weather, back_at=now)
    turn.session = replace(session, weather=None, reached_at=now, strain=0)
