"""The standing with Vault: when to log in, renew and look up the token, and when not to ask at all."""

from lessee.agent.machine.protocol.commands import Login, LookUpToken, RenewToken
from lessee.agent.machine.protocol.events import LoggedIn, TokenRenewed
from lessee.agent.machine.state import NEVER, Former, Session, State
from lessee.agent.machine.transaction import GUARD, Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.tokens import Token

LAST_SECONDS = 2.0
"""So near its end, or in the last quarter of a short life, a token or lease is not renewed: Vault has made such
renewals outlive max_ttl (CVE-2021-32923)."""
CAPPED = 0.9
"""Of its ttl before: a renewal that gives less than this says that max_ttl is near, which none can carry beyond."""
CHECK_EVERY = 10.0
"""Seconds between look-ups of the token when paths are denied."""
CHECK_SELDOM = 600.0
"""As above, where look-ups are in vain."""
TRUSTED = 2
"""Look-ups in a row that find a token invalid, and no other valid, before they are thought to be wrong about it."""
IDLE = 0.8
"""Of the time between look-ups: so long nothing is asked, or for `refresh`, until leases make us look the token up."""
SHORTEST = 3.0
"""Seconds that any request may take."""
SUSPECT = 0.5
"""Seconds in which another answer may clear the token of the suspicion."""
LOOK_AGAIN = 5.0
"""Seconds after which refused credentials are looked at again, without asking Vault, for they may have changed."""
ASK_AGAIN = (15.0, 300.0)
"""Seconds after which Vault is asked again with credentials that it refused: soon once, for the role may have come
a moment later, then so seldom that its lockout (five refusals in fifteen minutes, for all who have the role) is far."""


def plan_session(turn: Turn) -> None:
    """Ask for what the session itself needs; it goes before all else. In bad weather its requests alone are made."""
    session, now = turn.session, turn.now
    if session.token is not None and now >= session.token.ends_at:
        turn.tell("warning", "token ended", accessor=session.token.accessor)
        turn.session = session = without_token(session, login_at=min(session.login_at, now))
    if turn.stopping or is_asked_for(turn):
        return
    weather = session.weather
    if weather is not None and now < weather.next_at:
        return
    within = patience(session.token.ends_at - now) if session.token is not None else GUARD
    if now >= session.login_at:
        turn.session = replace(session, login_at=NEVER)
        turn.ask(Login(turn.next_id(), fresh=session.fresh, if_changed=now < session.ask_at), within=within)
    elif session.token is not None and now >= session.renew_at:
        turn.session = replace(session, renew_at=NEVER)
        turn.ask(RenewToken(turn.next_id()), within=within)
    elif session.token is not None and (now >= min(session.check_at, session.idle_at) or weather is not None):
        # Any path may be broken by itself: the token's own tells best whether Vault is back.
        turn.session = replace(session, check_at=NEVER, checked_at=now, idle_at=NEVER)
        turn.ask(LookUpToken(turn.next_id()), within=within)


def patience(left: float) -> float:
    """Seconds that a request may take on which something depends that ends in so many: there is time for others."""
    return max(SHORTEST, left / 4)


def is_asked_for(turn: State | Turn) -> bool:
    """Whether a token is being got, renewed or looked up."""
    return any(isinstance(call.command, Login | RenewToken | LookUpToken) for call in turn.calls.values())


def logged_in(turn: Turn, event: LoggedIn) -> None:
    """A token is here; the one before lives on for what was issued under it."""
    token, before = event.token, turn.session.token
    turn.tell(
        "info",
        "goes on with the kept token" if event.kept else "logged in",
        accessor=token.accessor,
        ttl=round(token.ttl),
    )
    turn.totals = replace(turn.totals, logins=turn.totals.logins + (not event.kept))
    former = dict(turn.session.former)
    if before is not None and before.id != token.id:
        former[before.id] = Former(before)
    former.pop(token.id, None)
    session = replace(turn.session, fresh=True, failure=None, tries=0, ask_at=0.0, check_at=NEVER, former=former)
    # Tokens read from a file may come near their end again and again: no more than one look every CHECK_EVERY.
    turn.session = _schedule(turn, session, token, earliest=turn.now + (0.0 if token.ours else CHECK_EVERY))


def renewed(turn: Turn, event: TokenRenewed, *, by_renewal: bool) -> None:
    """The token is valid, and this is what is left of it."""
    token, session = event.token, turn.session
    before = session.token
    left = token.ttl
    if before is not None and token.ttl:
        # A shorter ttl than before is what is left of the longer one.
        ttl = max(token.ttl, before.ttl)
        token = replace(token, sent_at=token.ends_at - ttl, ttl=ttl)
    if by_renewal:
        turn.tell("info", "renewed the token", accessor=token.accessor, ttl=round(left))
        token = replace(token, renewable=token.renewable and left >= token.ttl * CAPPED)
        turn.session = _schedule(turn, replace(session, failure=None, tries=0), token, earliest=turn.now)
        return
    token = replace(token, renewable=token.renewable and (before is None or before.renewable))
    new = _schedule(turn, replace(session, failure=None, check_wait=CHECK_EVERY, vain=0), token, earliest=turn.now)
    # A look-up carries nothing further: what was due stays due.
    renew_at = new.renew_at if session.renew_at == NEVER else min(session.renew_at, new.renew_at)
    turn.session = replace(new, renew_at=renew_at, login_at=min(session.login_at, new.login_at))


def session_failed(turn: Turn, command: Login | RenewToken | LookUpToken, failure: Failure) -> None:
    """Login, renewal or look-up failed for a reason that is not weather."""
    session = turn.session
    match command, failure.kind:
        case Login(), _:
            if session.failure != failure:
                level = "error" if failure.kind is Kind.WRAPPING_TOKEN_USED else "warning"
                turn.tell(level, "login failed", reason=failure.text)
            turn.session = _put_off(turn, replace(session, failure=failure), command, failure)
        case _, Kind.RATE_LIMITED | Kind.PATH_ERROR:
            rearm(turn, command, turn.retry_at(session, failure))
            turn.session = replace(turn.session, tries=session.tries + 1, since=turn.began(session))
        case LookUpToken(), Kind.UNSUPPORTED:
            # It is valid, and may not look itself up: policies are to blame for what is denied.
            turn.session = replace(session, check_wait=CHECK_SELDOM)
        case RenewToken(), Kind.UNSUPPORTED if session.token is not None:
            turn.tell("warning", "token cannot be renewed", reason=failure.text)
            token = replace(session.token, renewable=False)
            turn.session = _schedule(turn, session, token, earliest=turn.now)
        case _:
            turn.tell("warning", "token is no longer valid", reason=failure.text)
            if isinstance(command, LookUpToken):
                vain = session.vain + 1
                wait = CHECK_EVERY if vain <= TRUSTED else min(CHECK_SELDOM, session.check_wait * 4)
                session = replace(session, vain=vain, check_wait=wait)
            turn.session = without_token(session, login_at=turn.now, ended_at=turn.now)


def without_token(session: Session, *, login_at: float, ended_at: float = NEVER) -> Session:
    """The token is no good any more, nor is what was issued under it once it has `ended_at`."""
    former = dict(session.former)
    if session.token is not None:
        token = session.token
        if ended_at < token.ends_at:
            token = replace(token, ttl=max(ended_at - token.sent_at, 1e-9))
        former[token.id] = Former(token)
    return replace(session, token=None, fresh=True, renew_at=NEVER, check_at=NEVER, login_at=login_at, former=former)


def _put_off(turn: Turn, session: Session, command: Login, failure: Failure) -> Session:
    if failure.kind in {Kind.RATE_LIMITED, Kind.PATH_ERROR}:
        at = turn.retry_at(session, failure)
        return replace(session, tries=session.tries + 1, since=turn.began(session), login_at=at, ask_at=at)
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
    turn.session = replace(turn.session, check_wait=CHECK_EVERY, vain=0)


def trust_token(turn: Turn) -> None:
    """Something was granted."""
    session = turn.session
    wait = max(IDLE * session.check_wait, session.idle_every) * (0.9 + 0.1 * turn.draw())
    turn.session = replace(session, check_at=NEVER, idle_at=turn.now + wait)


def rearm(turn: Turn, command: Login | RenewToken | LookUpToken, at: float) -> None:
    """It is due again."""
    key = {Login: "login_at", RenewToken: "renew_at", LookUpToken: "check_at"}[type(command)]
    turn.session = replace(turn.session, **{key: at})


def _schedule(turn: Turn, session: Session, token: Token, *, earliest: float) -> Session:
    renew_at = login_at = NEVER
    if token.ttl:
        if token.renewable:
            renew_at = token.sent_at + renewal_after(turn, token.ttl)
        # Before the end, should no renewal have succeeded by then.
        login_at = max(earliest, token.ends_at - max(last_seconds(token.ttl), token.ttl * (0.1 + 0.1 * turn.draw())))
    return replace(session, token=token, renew_at=renew_at, login_at=login_at)


def renewal_after(turn: Turn, ttl: float) -> float:
    """Seconds after which to renew: at random, so that a fleet that was started together does not renew together."""
    return ttl * (0.5 + 0.2 * turn.draw())


def last_seconds(ttl: float) -> float:
    """Seconds before the end in which nothing is renewed any more."""
    return min(LAST_SECONDS, ttl / 4)
