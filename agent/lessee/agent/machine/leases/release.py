"""Ends what has served: a lease when no reader holds it any more, a token when nothing lives under it."""

from lessee.agent.machine.leases.consumers import free_at, may_show
from lessee.agent.machine.leases.renewal import has_room
from lessee.agent.machine.protocol.commands import (
    ForgetLease,
    ForgetToken,
    HandleExpiry,
    IssueSecret,
    Login,
    RevokeLease,
    RevokeToken,
)
from lessee.agent.machine.session.login import without_token
from lessee.agent.machine.state import NEVER, Former, Held, State
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace

ACT_AFTER = 5.0
"""Seconds after a lease's end in which a successor may come, before the app's `on_expiry` is seen to."""


def plan_letting_go(turn: Turn) -> None:
    """See to what has ended, and revoke what has served."""
    token = turn.session.token
    if turn.stopping and token is not None and token.ours:
        turn.session = without_token(turn.session, login_at=NEVER)
    for id_, held in list(turn.leases.items()):
        if turn.now >= acts_at(turn, held):
            _act(turn, id_, held)
        if turn.now >= goes_at(turn, held):
            _let_go(turn, id_, turn.leases[id_])
    for former in list(turn.session.former.values()):
        if turn.now >= token_goes_at(turn, former):
            _let_token_go(turn, former)


def acts_at(known: State | Turn, held: Held) -> float:
    """When an app's `on_expiry` is due: soon after the end, or at once where no successor can come."""
    if held.ended_at is None or held.acted:
        return NEVER
    return held.ended_at + (0.0 if known.session.weather is not None else ACT_AFTER)


def _act(turn: Turn, id_: str, held: Held) -> None:
    turn.edit_leases()[id_] = replace(held, acted=True)
    for name in sorted(held.lease.apps):
        if name in turn.apps and may_show(turn.apps[name], id_):
            turn.commands.append(HandleExpiry(name, (held.lease.need.path,)))


def goes_at(known: State | Turn, held: Held) -> float:
    """When a lease that has served is to be revoked, or, having ended, to be forgotten."""
    if held.call is not None or (held.standing == "current" and not known.stopping):
        return NEVER
    at = max(free_at(known, held), held.next_at)
    if held.ended_at is not None or not held.lease.lease_id:
        return at
    former = known.session.former.get(held.lease.token)
    if held.left or (former is not None and former.token.ours and not former.left):
        return NEVER  # it goes with its token
    return max(at, _may_ask_at(known)) if has_room(known) else NEVER


def _let_go(turn: Turn, id_: str, held: Held) -> None:
    if held.ended_at is not None or not held.lease.lease_id:
        drop_lease(turn, id_)
        return
    number = turn.next_id()
    turn.edit_leases()[id_] = replace(held, call=number)
    turn.ask(RevokeLease(number, id_, held.lease.lease_id))


def token_goes_at(known: State | Turn, former: Former) -> float:
    """When a token that was replaced is to be revoked, or, having ended, to be forgotten."""
    if former.call is not None:
        return NEVER
    token = former.token
    under = [held for held in known.leases.values() if held.lease.token == token.id]
    if not under and (former.left or not token.ours):
        return 0.0
    if former.left or not token.ours:
        return token.ends_at
    if any(held.standing == "current" and not known.stopping for held in under):
        return token.ends_at
    current = known.session.token
    if current is not None and any(call.sent_at < current.sent_at for call in known.calls.values()):
        return token.ends_at  # what was asked in its name is still to be answered
    at = max((free_at(known, held) for held in under), default=0.0)
    return min(token.ends_at, max(at, former.next_at, _may_ask_at(known)))


def _may_ask_at(known: State | Turn) -> float:
    session = known.session
    if session.weather is not None:
        return session.weather.next_at if known.stopping else NEVER
    return 0.0 if session.token is not None or known.stopping else NEVER


def _let_token_go(turn: Turn, former: Former) -> None:
    token = former.token
    if turn.now >= token.ends_at or former.left or not token.ours:
        forget_token(turn, token.id)
        return
    number = turn.next_id()
    _set_former(turn, replace(former, call=number))
    turn.ask(RevokeToken(number, token.id))


def lease_revoked(turn: Turn, id_: str) -> None:
    """It is no more."""
    held = turn.leases.get(id_)
    if held is not None:
        turn.tell("info", "revoked", path=str(held.lease.need), lease=held.lease.lease_id)
        turn.totals = replace(turn.totals, revoked=turn.totals.revoked + 1)
        drop_lease(turn, id_)


def token_revoked(turn: Turn, id_: str) -> None:
    """It is no more, nor is anything that was issued under it."""
    former = turn.session.former.get(id_)
    if former is not None:
        turn.tell("info", "revoked a token", accessor=former.token.accessor)
        for held in list(turn.leases.values()):
            if held.lease.token == id_:
                lease_revoked(turn, held.lease.id)
        forget_token(turn, id_)


def not_revoked(turn: Turn, command: RevokeLease | RevokeToken, failure: Failure) -> None:
    """It is tried again, or left to end by itself where it is refused."""
    refused = failure.kind not in {Kind.RATE_LIMITED, Kind.PATH_ERROR}
    if isinstance(command, RevokeToken):
        former = turn.session.former.get(command.token)
        if former is not None:
            if refused:
                reason = f"{failure.text}; it ends by itself"
                turn.tell("info", "token not revoked", accessor=former.token.accessor, reason=reason)
            again, since = turn.retry_at(former, failure), turn.began(former)
            _set_former(turn, replace(former, tries=former.tries + 1, since=since, next_at=again, left=refused))
        return
    held = turn.leases.get(command.id)
    if held is None:
        return
    if failure.kind in {Kind.NOT_FOUND, Kind.INVALID}:
        drop_lease(turn, command.id)
        return
    if refused:
        turn.tell(
            "warning",
            "lease not revoked",
            path=str(held.lease.need),
            reason=f"{failure.text}; it ends by itself",
            todo="grant `update` on sys/leases/revoke",
        )
    again, since = turn.retry_at(held, failure), turn.began(held)
    turn.edit_leases()[command.id] = replace(held, tries=held.tries + 1, since=since, next_at=again, left=refused)


def release_token(turn: Turn, command: RevokeToken) -> None:
    """The call is over."""
    former = turn.session.former.get(command.token)
    if former is not None:
        _set_former(turn, replace(former, call=None))


def nothing_to_revoke(state: State) -> bool:
    """Whether all that could be revoked is: what is left ends by itself."""
    if any(isinstance(call.command, Login | IssueSecret | RevokeLease | RevokeToken) for call in state.calls.values()):
        return False
    if any(former.token.ours and not former.left for former in state.session.former.values()):
        return False
    return all(held.left for held in state.leases.values() if held.lease.lease_id and held.ended_at is None)


def drop_lease(turn: Turn, id_: str) -> None:
    del turn.edit_leases()[id_]
    turn.commands.append(ForgetLease(id_))


def forget_token(turn: Turn, id_: str) -> None:
    former = dict(turn.session.former)
    former.pop(id_, None)
    turn.session = replace(turn.session, former=former)
    turn.commands.append(ForgetToken(id_))


def _set_former(turn: Turn, former: Former) -> None:
    turn.session = replace(turn.session, former=dict(turn.session.former) | {former.token.id: former})
