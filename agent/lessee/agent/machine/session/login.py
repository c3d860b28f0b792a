"""The login: when the agent logs in, renews the token or looks it up, and when it waits."""

from collections.abc import Iterator
from typing import assert_never

from lessee.agent.machine.session.outage import is_probing_path, is_turn_of_paths, paths_due_at, probe_due_at
from lessee.agent.machine.session.state import NEVER, ReplacedToken, RevokedLogin, Session
from lessee.agent.machine.transaction import REQUEST_TIMEOUT, StateView, Transaction
from lessee.agent.machine.ttl import (
    CAPPED_RATIO,
    final_seconds,
    is_short,
    renewal_delay,
    replacement_delay,
    timeout_before_end,
)
from lessee.core.backoff import CREDENTIALS_CHECK_INTERVAL, FORBIDDEN_LOGIN_DELAY, refused_login_delay
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.tokens import Token
from lessee.protocol.commands import Login, LookUpToken, RenewToken, TokenCommand
from lessee.protocol.events import LoggedIn, TokenRenewed

LOOKUP_INTERVAL = 10.0
"""The minimum number of seconds between two look-ups of the token while paths are denied."""
MAX_LOOKUP_INTERVAL = 600.0
"""The same, once look-ups have changed nothing."""
MAX_INVALID_LOOKUPS = 2
"""Consecutive look-ups that find a token invalid, before the agent assumes that the look-ups themselves are wrong."""
IDLE_RATIO = 0.8
"""The fraction of the look-up interval without any successful request after which a token with leases is looked up."""
QUICK_LOGIN = 5.0
"""Seconds. A login that follows another one, or the wait after it, sooner is quick: quick ones wait ever longer."""
SUSPICION_DELAY = 0.5
"""Seconds in which another successful request can show that a denied request was not the token's fault."""
RESERVED_USES = 2
"""Requests of a token with `token_num_uses` that the agent keeps back: one to revoke it. The last one would end its
leases, and some reads send a second request."""


def plan_session(tx: Transaction) -> None:
    """Send the request that the session itself needs; in an outage this is the probe, or it lets another one be it."""
    session, now = tx.session, tx.now
    if session.token is not None and now >= session.token.ends_at:
        tx.log("warning", "token expired", accessor=session.token.accessor)
        login_at = max(min(session.login_at, now), _earliest_login(session, session.token))
        tx.session = session = without_token(session, login_at=login_at)
    if now < session_due_at(tx):
        return
    if session.outage is not None and is_turn_of_paths(tx):
        tx.session = replace(session, outage=replace(session.outage, is_open=True))
        return
    timeout = timeout_before_end(session.token.ends_at - now) if session.token is not None else REQUEST_TIMEOUT
    if now >= session.login_at:
        tx.session = replace(session, login_at=NEVER)
        if_changed = now < session.credentials_retry_at
        tx.send(Login(tx.new_id(), fresh=session.fresh_login, if_changed=if_changed), timeout=timeout)
    elif now >= session.renew_at:
        tx.session = replace(session, renew_at=NEVER)
        tx.send(RenewToken(tx.new_id()), timeout=timeout)
    else:
        _look_up(tx, timeout)


def plan_probe(tx: Transaction) -> None:
    """Where no path needs a request, the probe is a look-up of the token after all."""
    outage, token = tx.session.outage, tx.session.token
    if outage is not None and token is not None and outage.is_open:
        # What is due and was not sent cannot be sent: it must not cause one probe after the other.
        only_token = outage.only_token and paths_due_at(tx) > tx.now
        tx.session = replace(tx.session, outage=replace(outage, is_open=False, only_token=only_token))
        _look_up(tx, timeout_before_end(token.ends_at - tx.now))


def _look_up(tx: Transaction, timeout: float) -> None:
    tx.session = replace(tx.session, lookup_at=NEVER, last_lookup_at=tx.now, idle_lookup_at=NEVER)
    tx.send(LookUpToken(tx.new_id()), timeout=timeout)


def session_deadlines(state: StateView) -> Iterator[float]:
    """When `plan_session` has something to do."""
    if state.session.token is not None:
        yield state.session.token.ends_at
    yield session_due_at(state)


def session_due_at(state: StateView) -> float:
    """When to log in, renew the token or look it up."""
    session = state.session
    if state.stopping or is_token_request_pending(state) or is_probing_path(state):
        return NEVER
    due_at = session.login_at
    if session.token is not None:
        due_at = min(due_at, session.renew_at, session.lookup_at, session.idle_lookup_at)
    if session.outage is None:
        return due_at
    # In an outage this is the probe. A token can be looked up at any time.
    outage = session.outage
    return probe_due_at(state, outage) if session.token is not None else max(due_at, outage.next_at)


def is_token_request_pending(state: StateView) -> bool:
    """Whether a login, a renewal or a look-up of the token is under way."""
    return any(isinstance(request.command, TokenCommand) for request in state.requests.values())


def on_logged_in(tx: Transaction, event: LoggedIn) -> None:
    """Use the new token; the previous one remains until no lease depends on it."""
    token, previous = event.token, tx.session.token
    message = "reusing saved token" if event.reused else "logged in"
    limit = {"uses": token.uses} if token.uses else {}
    if tx.source:
        tx.log("info", "source opened", source=tx.source)
    else:
        tx.log("info", message, accessor=token.accessor, ttl=round(token.ttl), **limit)
    tx.counters = replace(tx.counters, logins=tx.counters.logins + (not event.reused))
    replaced = dict(tx.session.replaced_tokens)
    if previous is not None and previous.id != token.id:
        replaced[previous.id] = ReplacedToken(previous)
    replaced.pop(token.id, None)
    session = replace(
        tx.session,
        fresh_login=True,
        failure=None,
        attempts=0,
        credentials_retry_at=0.0,
        lookup_at=NEVER,
        replaced_tokens=replaced,
        uses_left=_uses_left(token),
        revoked=_revoked_before(tx.session.revoked, token, tx.now),
    )
    if not event.reused:
        session = _note_login(tx, session, token)
    # A token from a file may be near its end each time it is read: the agent reads it once per LOOKUP_INTERVAL.
    earliest = tx.now + (0.0 if token.ours else LOOKUP_INTERVAL)
    tx.session = _schedule(tx, session, token, earliest=earliest)


def _uses_left(token: Token) -> int | None:
    """A token from a file is not limited here: another login would read the same one."""
    if not token.uses or not token.ours:
        return None
    return max(token.uses - RESERVED_USES, 1)


def on_token_renewed(tx: Transaction, event: TokenRenewed, *, by_renewal: bool) -> None:
    """The token is valid, and the event says for how long."""
    token, session = event.token, tx.session
    previous = session.token
    ttl_left = token.ttl
    if previous is not None and token.ttl:
        # A shorter ttl than before is the rest of the longer one.
        ttl = max(token.ttl, previous.ttl)
        token = replace(token, sent_at=token.ends_at - ttl, ttl=ttl)
    if by_renewal:
        tx.log("info", "token renewed", accessor=token.accessor, ttl=round(ttl_left))
        token = replace(token, renewable=token.renewable and ttl_left >= token.ttl * CAPPED_RATIO)
        tx.session = _schedule(tx, replace(session, failure=None, attempts=0), token, earliest=tx.now)
        return
    token = replace(token, renewable=token.renewable and (previous is None or previous.renewable))
    checked = replace(session, failure=None, lookup_interval=LOOKUP_INTERVAL, invalid_lookups=0)
    checked = _schedule(tx, checked, token, earliest=tx.now)
    # A look-up does not extend the ttl: what was due before is still due.
    renew_at = checked.renew_at if session.renew_at == NEVER else min(session.renew_at, checked.renew_at)
    tx.session = replace(checked, renew_at=renew_at, login_at=min(session.login_at, checked.login_at))


def on_session_request_failed(tx: Transaction, command: TokenCommand, failure: Failure) -> None:
    """A login, renewal or look-up failed, and not because of an outage."""
    session = tx.session
    match command, failure.kind:
        case Login(), _:
            if failure.kind is Kind.PENDING:
                tx.session = replace(session, failure=failure, login_at=tx.now + CREDENTIALS_CHECK_INTERVAL)
                return
            if session.failure != failure:
                level = "error" if failure.kind is Kind.ALREADY_UNWRAPPED else "warning"
                if tx.source:
                    tx.log("warning", "source not opened", source=tx.source, reason=failure.text)
                else:
                    tx.log(level, "login failed", reason=failure.text)
            tx.session = _after_failed_login(tx, replace(session, failure=failure), command, failure)
        case _, Kind.RATE_LIMITED | Kind.PATH_ERROR:
            schedule_again(tx, command, tx.retry_at(session, failure))
            tx.session = replace(tx.session, attempts=session.attempts + 1, since=tx.failing_since(session))
        case LookUpToken(), Kind.UNSUPPORTED:
            # The token is valid, but its policies do not allow the look-up: they are also why a path was denied.
            tx.session = replace(session, lookup_interval=MAX_LOOKUP_INTERVAL)
        case RenewToken(), Kind.UNSUPPORTED if session.token is not None:
            tx.log("warning", "token not renewable", reason=failure.text)
            token = replace(session.token, renewable=False)
            tx.session = _schedule(tx, session, token, earliest=tx.now)
        case _:
            tx.log("warning", "token rejected", reason=failure.text)
            if isinstance(command, LookUpToken):
                invalid = session.invalid_lookups + 1
                slower = min(MAX_LOOKUP_INTERVAL, session.lookup_interval * 4)
                interval = LOOKUP_INTERVAL if invalid <= MAX_INVALID_LOOKUPS else slower
                session = replace(session, invalid_lookups=invalid, lookup_interval=interval)
            if session.token is not None:
                session = replace(session, revoked=RevokedLogin(session.token.sent_at, tx.now))
            tx.session = without_token(session, login_at=max(tx.now, session.next_login_at), ended_at=tx.now)


def without_token(session: Session, *, login_at: float, ended_at: float = NEVER) -> Session:
    """The session once its token is not used any more. At `ended_at`, the token and its leases were invalid."""
    replaced = dict(session.replaced_tokens)
    if session.token is not None:
        token = session.token
        if ended_at < token.ends_at:
            token = replace(token, ttl=max(ended_at - token.sent_at, 1e-9))
        replaced[token.id] = ReplacedToken(token)
    return replace(
        session,
        token=None,
        fresh_login=True,
        renew_at=NEVER,
        lookup_at=NEVER,
        login_at=login_at,
        replaced_tokens=replaced,
    )


def _after_failed_login(tx: Transaction, session: Session, command: Login, failure: Failure) -> Session:
    if failure.kind in {Kind.RATE_LIMITED, Kind.PATH_ERROR}:
        at = tx.retry_at(session, failure)
        since = tx.failing_since(session)
        return replace(session, attempts=session.attempts + 1, since=since, login_at=at, credentials_retry_at=at)
    if not command.if_changed:
        if failure.kind is Kind.FORBIDDEN:
            at = tx.retry_at(session, failure, base=FORBIDDEN_LOGIN_DELAY)
        else:
            at = tx.now + refused_login_delay(session.attempts)
        since = tx.failing_since(session)
        session = replace(session, attempts=session.attempts + 1, since=since, credentials_retry_at=at)
    return replace(session, login_at=min(session.credentials_retry_at, tx.now + CREDENTIALS_CHECK_INTERVAL))


def suspect_token(tx: Transaction) -> None:
    """A request was denied: look the token up, unless another request succeeds before."""
    session = tx.session
    if session.token is not None and session.lookup_at == NEVER:
        lookup_at = max(tx.now + SUSPICION_DELAY, session.last_lookup_at + session.lookup_interval)
        tx.session = replace(session, lookup_at=lookup_at)


def trust_token(tx: Transaction) -> None:
    """A request succeeded, so the token is valid."""
    session = tx.session
    if session.uses_left is not None:
        tx.session = replace(session, lookup_at=NEVER)  # Each look-up would use the token up.
        return
    wait = max(IDLE_RATIO * session.lookup_interval, session.lease_refresh_interval) * (0.9 + 0.1 * tx.random())
    tx.session = replace(session, lookup_at=NEVER, idle_lookup_at=tx.now + wait)


def reset_lookup_interval(tx: Transaction) -> None:
    """A path that was denied is granted now: the look-ups of the token were useful."""
    tx.session = replace(tx.session, lookup_interval=LOOKUP_INTERVAL, invalid_lookups=0)


def schedule_again(tx: Transaction, command: TokenCommand, at: float) -> None:
    """Send this request again at the given time."""
    match command:
        case Login():
            tx.session = replace(tx.session, login_at=at)
        case RenewToken():
            tx.session = replace(tx.session, renew_at=at)
        case LookUpToken():
            tx.session = replace(tx.session, lookup_at=at)
        case _:
            assert_never(command)


def _schedule(tx: Transaction, session: Session, token: Token, *, earliest: float) -> Session:
    renew_at = login_at = NEVER
    if token.ttl:
        if token.renewable and not is_short(token.ttl):
            renew_at = token.sent_at + renewal_delay(tx, token.ttl)
        # Before the end, if no renewal has succeeded until then.
        margin = max(final_seconds(token.ttl), token.ttl * (0.1 + 0.1 * tx.random()))
        login_at = max(earliest, token.ends_at - margin, _earliest_login(session, token))
    return replace(session, token=token, renew_at=renew_at, login_at=login_at)


def _note_login(tx: Transaction, session: Session, token: Token) -> Session:
    """Count logins that follow each other quickly, or have to, and postpone the next one."""
    since = tx.now - max(session.last_login_at, session.next_login_at)
    is_quick = since < QUICK_LOGIN or is_short(token.ttl)
    quick = session.quick_logins + 1 if is_quick else 0
    next_login_at = tx.now + replacement_delay(tx, quick)
    return replace(session, last_login_at=tx.now, quick_logins=quick, next_login_at=next_login_at)


def _revoked_before(revoked: RevokedLogin | None, token: Token, now: float) -> RevokedLogin | None:
    """The revoked login once there is this new one, which may say that an emergency was before this process."""
    if revoked is None:
        return RevokedLogin(None, None, now, token.emergency_at) if token.emergency_at else None
    if revoked.logged_in_at is not None:
        return revoked
    return replace(revoked, logged_in_at=now, emergency_at=token.emergency_at)


def _earliest_login(session: Session, token: Token) -> float:
    """When the successor of this token may be requested: in time before its end, unless the ttl is useless."""
    if is_short(token.ttl):
        return session.next_login_at
    return min(session.next_login_at, session.last_login_at + token.ttl / 2)


def refresh_session(tx: Transaction) -> None:
    """A user requests a check: probe an outage now, and log in now if there is no token."""
    session = tx.session
    if session.outage is not None:
        session = replace(session, outage=replace(session.outage, next_at=tx.now))
    is_login_pending = any(isinstance(request.command, Login) for request in tx.requests.values())
    if session.token is None and not is_login_pending:
        session = replace(session, login_at=tx.now, credentials_retry_at=tx.now)
    tx.session = session
