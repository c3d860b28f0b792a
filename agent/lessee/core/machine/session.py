"""The standing with Vault: when to log in, renew and look up the token, and when not to ask at all."""

from lessee.core.machine.commands import CheckToken, Login, RenewToken, VaultCommand
from lessee.core.machine.events import LoggedIn, Renewed, Token
from lessee.core.machine.failures import Failure, Kind
from lessee.core.machine.state import NEVER, Session, Weather
from lessee.core.machine.turn import Turn
from lessee.core.record import replace

LAST_SECONDS = 2.0
"""A token or lease this near its end is not renewed: Vault has made such renewals outlive max_ttl (CVE-2021-32923)."""
CHECK_EVERY = 10.0
"""Seconds between look-ups of the token when paths are denied."""
CHECK_SELDOM = 600.0
"""As above, where look-ups are denied to good tokens too: a policy may lack auth/token/lookup-self."""
SUSPECT = 0.5
"""Seconds in which another answer may clear the token of the suspicion."""
LOOK_AGAIN = 5.0
"""Seconds after which refused credentials are looked at again, without asking Vault, for they may have changed."""
ASK_AGAIN = (15.0, 300.0)
"""Seconds after which Vault is asked again with credentials that it refused: soon once, for the role may have come
a moment later, then so seldom that its lockout (five refusals in fifteen minutes, for all who have the role) is far."""


def plan_session(turn: Turn) -> None:
    """Ask for what the session itself needs; it goes before all reading."""
    session, now = turn.session, turn.now
    if any(isinstance(call.command, Login | RenewToken | CheckToken) for call in turn.calls.values()):
        return
    if session.weather is not None and (now < session.weather.next_at or turn.calls):
        return
    if session.token is not None and now >= session.token.ends_at:
        turn.tell("warning", "token ended", accessor=session.token.accessor)
        turn.session = session = _without_token(session, login_at=min(session.login_at, now))
    if now >= session.login_at:
        turn.session = replace(session, login_at=NEVER)
        turn.ask(Login(turn.next_id(), fresh=session.fresh, if_changed=now < session.ask_at))
    elif session.token is not None and now >= session.renew_at:
        turn.session = replace(session, renew_at=NEVER)
        turn.ask(RenewToken(turn.next_id()))
    elif session.token is not None and now >= session.check_at:
        turn.session = replace(session, check_at=NEVER, checked_at=now)
        turn.ask(CheckToken(turn.next_id()))


def logged_in(turn: Turn, event: LoggedIn) -> None:
    """A token is here."""
    token = event.token
    turn.tell(
        "info",
        "goes on with the kept token" if event.kept else "logged in",
        accessor=token.accessor,
        ttl=round(token.ttl),
    )
    turn.totals = replace(turn.totals, logins=turn.totals.logins + (not event.kept))
    session = replace(turn.session, fresh=True, failure=None, tries=0, ask_at=0.0, check_at=NEVER)
    # Tokens read from a file may come near their end again and again: no more than one look every CHECK_EVERY.
    turn.session = _schedule(turn, session, token, earliest=turn.now + CHECK_EVERY)


def renewed(turn: Turn, event: Renewed, *, by_renewal: bool) -> None:
    """The token is valid, and this is what is left of it."""
    token, before = event.token, turn.session.token
    if by_renewal:
        turn.tell("info", "renewed the token", accessor=token.accessor, ttl=round(token.ttl))
        # A ttl that shrank says that the token's max_ttl is near: renewing on would not carry it further.
        capped = before is not None and bool(before.ttl) and token.ttl < before.ttl * 0.9
        token = replace(token, renewable=token.renewable and not capped)
    else:
        token = replace(token, renewable=token.renewable and (before is None or before.renewable))
        turn.session = replace(turn.session, check_wait=CHECK_EVERY)
    turn.session = _schedule(turn, replace(turn.session, failure=None), token, earliest=turn.now)


def session_failed(turn: Turn, command: Login | RenewToken | CheckToken, failure: Failure) -> None:
    """Login, renewal or look-up failed for a reason that is not weather."""
    session = turn.session
    if isinstance(command, Login):
        if session.failure != failure:
            level = "error" if failure.kind is Kind.SPENT else "warning"
            turn.tell(level, "login failed", reason=failure.text)
        turn.session = _put_off(turn, replace(session, failure=failure), command, failure)
    elif failure.kind is Kind.LIMITED:
        _rearm(turn, command, turn.retry_at(0, failure))
    else:
        turn.tell("warning", "token is no longer valid", reason=failure.text)
        wait = min(CHECK_SELDOM, session.check_wait * 4) if isinstance(command, CheckToken) else session.check_wait
        turn.session = replace(_without_token(session, login_at=turn.now), check_wait=wait)


def _without_token(session: Session, *, login_at: float) -> Session:
    return replace(session, token=None, fresh=True, renew_at=NEVER, check_at=NEVER, login_at=login_at)


def _put_off(turn: Turn, session: Session, command: Login, failure: Failure) -> Session:
    if failure.kind is Kind.LIMITED:
        at = turn.retry_at(session.tries, failure)
        return replace(session, tries=session.tries + 1, login_at=at, ask_at=at)
    if not command.if_changed:
        wait = ASK_AGAIN[min(session.tries, len(ASK_AGAIN) - 1)]
        session = replace(session, tries=session.tries + 1, ask_at=turn.now + wait)
    return replace(session, login_at=min(session.ask_at, turn.now + LOOK_AGAIN))


def suspect_token(turn: Turn) -> None:
    """Something was denied: unless something else is granted meanwhile, find out whether the token is the reason."""
    session = turn.session
    if session.token is not None and session.check_at == NEVER:
        turn.session = replace(session, check_at=max(turn.now + SUSPECT, session.checked_at + session.check_wait))


def blame_token(turn: Turn) -> None:
    """What was denied is granted now: the look-up of the token was not in vain."""
    turn.session = replace(turn.session, check_wait=CHECK_EVERY)


def trust_token(turn: Turn) -> None:
    """Something was granted."""
    if turn.session.check_at != NEVER:
        turn.session = replace(turn.session, check_at=NEVER)


def bad_weather(turn: Turn, command: VaultCommand, failure: Failure) -> None:
    """Vault serves nobody now: all asking waits, but for one try at a time."""
    _rearm(turn, command, turn.now)
    session, now = turn.session, turn.now
    weather = session.weather or Weather(since=now, tries=0, next_at=now, text="")
    if now < weather.next_at:
        return  # calls that were under way when the weather broke count as one try
    if weather.text != failure.text:
        turn.tell("warning", "vault is away", reason=failure.text)
    next_at = turn.retry_at(weather.tries, failure)
    turn.session = replace(session, weather=Weather(weather.since, weather.tries + 1, next_at, failure.text))


def fair_weather(turn: Turn) -> None:
    """Vault answered."""
    session, now = turn.session, turn.now
    if session.weather is not None:
        turn.tell("info", "vault is back", after=round(now - session.weather.since, 1))
    turn.session = replace(session, weather=None, reached_at=now)


def _rearm(turn: Turn, command: VaultCommand, at: float) -> None:
    match command:
        case Login():
            turn.session = replace(turn.session, login_at=at)
        case RenewToken():
            turn.session = replace(turn.session, renew_at=at)
        case CheckToken():
            turn.session = replace(turn.session, check_at=at)
        case _:
            pass  # reading keeps its own times


def _schedule(turn: Turn, session: Session, token: Token, *, earliest: float) -> Session:
    renew_at = login_at = NEVER
    if token.ttl:
        # A random point of 0.5-0.7 of the ttl, so that a fleet started together does not renew together.
        renew_at = token.sent_at + token.ttl * (0.5 + 0.2 * turn.draw())
        if not token.renewable or renew_at > token.ends_at - LAST_SECONDS:
            renew_at = NEVER
            login_at = max(earliest, token.ends_at - max(LAST_SECONDS, token.ttl * (0.1 + 0.1 * turn.draw())))
    return replace(session, token=token, renew_at=renew_at, login_at=login_at)
