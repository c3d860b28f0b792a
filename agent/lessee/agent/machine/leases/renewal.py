"""When dynamic secrets are asked for, looked up and renewed: each before it ends, and none in its last seconds."""

from lessee.agent.machine.leases.consumers import free_at
from lessee.agent.machine.protocol.commands import IssueSecret, LeaseCommand, Login, LookUpLease, RenewLease
from lessee.agent.machine.session.login import LAST_SECONDS, is_asked_for, last_seconds, patience
from lessee.agent.machine.state import NEVER, Held, State, Supply
from lessee.agent.machine.transaction import Turn
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret
from lessee.core.tokens import Token

IN_FLIGHT = 8
"""Requests about leases under way at most; reading has as many of its own."""
SHORTEST_ISSUE = 10.0
"""Seconds that anything may take to be issued: it is made elsewhere."""
RENEWS_WITHIN = 2.0
"""Seconds that a renewal may take before a successor is asked for all the same, if it is time for one."""
LOOK_UPS = 2
"""Vain look-ups of a lease that seems to have ended, before another one is asked for."""


def plan_leases(turn: Turn) -> None:
    """Ask for what is due: renewals first."""
    for id_, held in turn.leases.items():
        if held.ended_at is None and turn.now >= ends_at(turn, held.lease):
            lease_ended(turn, id_, held)
    token = turn.session.token
    if token is None or turn.session.weather is not None or turn.stopping:
        return
    for id_, held in turn.leases.items():
        if turn.now >= asks_at(turn, held) and has_room(turn):
            _ask(turn, id_, held)
    if may_issue(turn):
        for need, supply in turn.supplies.items():
            if turn.now >= issues_at(turn, supply) and has_room(turn):
                _issue(turn, need, supply, token)


def _ask(turn: Turn, id_: str, held: Held) -> None:
    if held.proved and turn.now > ends_at(turn, held.lease) - last_seconds(held.lease.ttl):
        turn.edit_leases()[id_] = replace(held, renew_at=NEVER, replace_at=turn.now)
        return
    call = turn.next_id()
    turn.edit_leases()[id_] = replace(held, call=call)
    ask = RenewLease if held.proved else LookUpLease
    turn.ask(ask(call, id_, held.lease.lease_id), within=patience(ends_at(turn, held.lease) - turn.now))


def _issue(turn: Turn, need: DynamicSecret, supply: Supply, token: Token) -> None:
    held = turn.leases.get(supply.lease or "")
    if held is not None and _ends_with_its_token(turn, held):
        turn.session = replace(turn.session, login_at=turn.now)
        return
    call = turn.next_id()
    turn.edit_supplies()[need] = replace(supply, call=call)
    if held is None:
        turn.ask(IssueSecret(call, need, token.id))
    else:
        # What is slow may still come, and is then revoked; what hangs must not outlast the lease.
        left = ends_at(turn, held.lease) - turn.now
        turn.ask(IssueSecret(call, need, token.id), within=max(SHORTEST_ISSUE, left / 2))


def has_room(known: State | Turn) -> bool:
    """Whether one more request about leases may be under way."""
    return sum(isinstance(call.command, LeaseCommand) for call in known.calls.values()) < IN_FLIGHT


def may_issue(known: State | Turn) -> bool:
    """Whether what is issued now would not end with a token that is just being replaced."""
    session = known.session
    return session.failure is not None or not any(isinstance(call.command, Login) for call in known.calls.values())


def ends_at(known: State | Turn, lease: Lease) -> float:
    """When a lease ends: by itself, or with the token under which it was issued. A static role does not."""
    if lease.static:
        return NEVER
    session, end = known.session, lease.ends_at
    token = session.token
    if token is None or token.id != lease.token:
        former = session.former.get(lease.token)
        token = former.token if former is not None else None
    if token is None:
        return end
    last = token.ends_at
    return min(end, last)


def asks_at(known: State | Turn, held: Held) -> float:
    """When a lease is to be looked up or renewed; NEVER in its last seconds."""
    if held.call is not None or held.standing == "superseded":
        return NEVER
    if held.standing == "unwanted" and free_at(known, held) != NEVER:
        return NEVER  # it is about to go
    if not held.proved:
        return held.next_at
    at = max(held.renew_at, held.next_at)
    return at if held.ended_at is None and at <= ends_at(known, held.lease) - last_seconds(held.lease.ttl) else NEVER


def issues_at(known: State | Turn, supply: Supply) -> float:
    """When a dynamic secret is to be issued: at first, and when the lease that serves it has served."""
    if supply.call is not None:
        return NEVER
    held = known.leases.get(supply.lease or "")
    if held is None:
        return supply.next_at
    if _ends_with_its_token(known, held) and is_asked_for(known):
        return NEVER
    if not held.proved and not (held.ended_at is not None and held.tries >= LOOK_UPS):
        return NEVER  # it is looked up first
    if held.ended_at is not None or is_of_another_token(known, held):
        return supply.next_at
    at = max(held.replace_at, supply.next_at)
    # A renewal that is under way may make it needless.
    return at if held.call is None else max(at, known.calls[held.call].sent_at + RENEWS_WITHIN)


def _ends_with_its_token(known: State | Turn, held: Held) -> bool:
    """Whether a successor under the same token would end no later: a login comes first, where one is to be had."""
    session, token = known.session, known.session.token
    if token is None or not token.ours or session.renew_at != NEVER or session.failure is not None:
        return False
    return held.lease.token == token.id and held.lease.ends_at > token.ends_at - LAST_SECONDS


def is_of_another_token(known: State | Turn, held: Held) -> bool:
    token = known.session.token
    return token is not None and held.lease.token != token.id and not held.lease.static


def lease_ended(turn: Turn, id_: str, held: Held) -> None:
    """Notified, and marked; a successor is asked for."""
    lease = held.lease
    if held.standing == "current":
        apps = ", ".join(sorted(lease.apps))
        turn.tell("warning", "lease ended", path=str(lease.need), lease=lease.lease_id, apps=apps)
    turn.edit_leases()[id_] = replace(held, ended_at=turn.now)
