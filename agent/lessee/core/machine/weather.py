"""Bad weather: Vault serves nobody. All asking waits, but for one probe at a time."""

from lessee.core.machine.backoff import delay
from lessee.core.machine.commands import VaultCommand
from lessee.core.machine.failures import Failure, Kind
from lessee.core.machine.session import rearm
from lessee.core.machine.state import Call, Weather
from lessee.core.machine.turn import Turn
from lessee.core.record import replace

STRAIN = 3
"""So many answers in a row that do not serve are bad weather, though each is told of one path."""
RELAPSE = 15.0
"""Seconds of fair weather that do not yet end the bad one before."""


def is_of_its_path(turn: Turn, call: Call, failure: Failure) -> bool:
    """Whether a request failed alone: others have been answered since it was sent."""
    reached_at = turn.session.reached_at
    if failure.kind is not Kind.WEATHER:
        return True
    return turn.session.weather is None and reached_at is not None and reached_at > call.sent_at


def bad_weather(turn: Turn, command: VaultCommand, call: Call, failure: Failure) -> None:
    """Nothing is asked for a while; what was under way when the weather broke counts as one try."""
    rearm(turn, command)
    session, now = turn.session, turn.now
    weather = session.weather
    if weather is None:
        past = session.past
        going_on = past is not None and session.reached_at is not None and now - session.reached_at < RELAPSE
        weather = past if past is not None and going_on else Weather(since=now, tries=0, next_at=now, text="")
    if now < weather.next_at:
        turn.session = replace(session, weather=weather)
        return
    if weather.text != failure.text:
        turn.tell("warning", "vault is away", reason=failure.text)
    wait = delay(weather.tries, turn.draw(), lasted=now - weather.since)
    # A probe that hung has waited long enough already.
    next_at = now + turn.wait(max(call.sent_at + wait - now, wait / 4), failure)
    turn.session = replace(session, weather=Weather(weather.since, weather.tries + 1, next_at, failure.text))


def strained(turn: Turn, command: VaultCommand, call: Call, failure: Failure) -> None:
    """A path was not served. One is its own affair; several, and nothing served in between, are the server's."""
    session = turn.session
    turn.session = replace(session, strain=session.strain + 1)
    if session.weather is not None or session.strain + 1 >= STRAIN:
        bad_weather(turn, command, call, failure)


def fair_weather(turn: Turn) -> None:
    """Vault served something, or said clearly why not."""
    session, now = turn.session, turn.now
    if session.weather is not None:
        turn.tell("info", "vault is back", after=round(now - session.weather.since, 1))
        session = replace(session, past=session.weather)
    turn.session = replace(session, weather=None, reached_at=now, strain=0)
