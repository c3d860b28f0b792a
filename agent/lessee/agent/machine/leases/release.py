"""The release of what is not needed any more: a lease once no app uses it, a token once no lease depends on it."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

from lessee.agent.machine.affected import affected_leases, note_deadlines
from lessee.agent.machine.leases.consumers import unused_at
from lessee.agent.machine.leases.renewal import end_due_at, free_lease_slots, has_free_slot
from lessee.agent.machine.leases.state import HeldLease
from lessee.agent.machine.session.login import without_token
from lessee.agent.machine.session.state import NEVER, ReplacedToken
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.protocol.commands import (
    ForgetLease,
    ForgetToken,
    HandleExpiry,
    IssueSecret,
    Login,
    RevokeLease,
    RevokeToken,
)

EXPIRY_DELAY = 5.0
"""Seconds after a lease has ended in which a successor may still arrive before the app's `on_expiry` is applied."""


def plan_release(tx: Transaction) -> None:
    """Apply `on_expiry` for leases that have ended, and revoke or forget leases and tokens that are not needed."""
    token = tx.session.token
    if tx.stopping and token is not None and token.ours:
        tx.session = without_token(tx.session, login_at=NEVER)
    revocations = islice(tx.revocation_deadlines.due(tx.now), free_lease_slots(tx))
    for id_ in tx.leases.in_order({*affected_leases(tx), *tx.lease_deadlines.due(tx.now), *revocations}):
        held = tx.leases[id_]
        if tx.now >= expiry_due_at(tx, held):
            _handle_expiry(tx, id_, held)
        if tx.now >= release_due_at(tx, held) and (is_only_forgotten(held) or has_free_slot(tx)):
            _release(tx, id_, tx.leases[id_])
    for replaced in list(tx.session.replaced_tokens.values()):
        if tx.now >= token_release_due_at(tx, replaced):
            _release_token(tx, replaced)


def release_deadlines(state: State) -> Iterator[float]:
    """When `plan_release` has something to do."""
    yield state.deadlines.leases.first_due_at
    if has_free_slot(state):
        yield state.deadlines.revocations.first_due_at
    for replaced in state.session.replaced_tokens.values():
        yield token_release_due_at(state, replaced)


def set_release_deadlines(tx: Transaction) -> None:
    """Note when the leases are due that this step concerns."""
    affected = affected_leases(tx)
    note_deadlines(tx.lease_deadlines, tx.leases, affected, partial(lease_due_at, tx))
    note_deadlines(tx.revocation_deadlines, tx.leases, affected, partial(revocation_due_at, tx))


def lease_due_at(state: StateView, held: HeldLease) -> float:
    """When something is due for a lease that needs no request: it ends, its expiry is handled, or it is forgotten."""
    forgotten_at = release_due_at(state, held) if is_only_forgotten(held) else NEVER
    return min(end_due_at(state, held), expiry_due_at(state, held), forgotten_at)


def revocation_due_at(state: StateView, held: HeldLease) -> float:
    """When to revoke a lease, as soon as a request may be sent."""
    return NEVER if is_only_forgotten(held) else release_due_at(state, held)


def is_only_forgotten(held: HeldLease) -> bool:
    """Whether the release of a lease needs no request, because Vault does not know it any more."""
    return held.ended_at is not None or not held.lease.lease_id


def expiry_due_at(state: StateView, held: HeldLease) -> float:
    """When to apply the apps' `on_expiry`: soon after the end, or immediately if an outage prevents a successor."""
    if held.ended_at is None or held.expiry_handled:
        return NEVER
    return held.ended_at + (0.0 if state.session.outage is not None else EXPIRY_DELAY)


def release_due_at(state: StateView, held: HeldLease) -> float:
    """When to revoke a lease that is not current, or to forget one that has ended."""
    if held.request is not None or (held.status == "current" and not state.stopping):
        return NEVER
    at = max(unused_at(state, held), held.next_at)
    if is_only_forgotten(held):
        return at
    replaced = state.session.replaced_tokens.get(held.lease.token)
    is_revoked_with_token = replaced is not None and replaced.token.ours and not replaced.revocation_denied
    if held.revocation_denied or is_revoked_with_token:
        return NEVER
    return max(at, _revocation_possible_at(state))


def token_release_due_at(state: StateView, replaced: ReplacedToken) -> float:
    """When to revoke a token that is not in use, or to forget one that has expired."""
    if replaced.request is not None:
        return NEVER
    token = replaced.token
    leases = [held for held in state.leases.values() if _is_revoked_with(held, token.id)]
    if replaced.revocation_denied or not token.ours:
        return token.ends_at if leases else 0.0
    if any(held.status == "current" and not state.stopping for held in leases):
        return token.ends_at
    current = state.session.token
    if current is not None and any(request.sent_at < current.sent_at for request in state.requests.values()):
        return token.ends_at  # A request under this token is still under way.
    at = max((unused_at(state, held) for held in leases), default=0.0)
    return min(token.ends_at, max(at, replaced.next_at, _revocation_possible_at(state)))


def _revocation_possible_at(state: StateView) -> float:
    session = state.session
    if session.outage is not None:
        return session.outage.next_at if state.stopping else NEVER
    return 0.0 if session.token is not None or state.stopping else NEVER


def _handle_expiry(tx: Transaction, id_: str, held: HeldLease) -> None:
    tx.leases[id_] = replace(held, expiry_handled=True)
    for name in sorted(held.lease.apps):
        if name in tx.apps and tx.apps[name].may_publish(id_):
            tx.commands.append(HandleExpiry(name, (held.lease.need.path,)))


def _release(tx: Transaction, id_: str, held: HeldLease) -> None:
    if is_only_forgotten(held):
        _forget_lease(tx, id_)
        return
    request = tx.new_id()
    tx.leases[id_] = replace(held, request=request)
    tx.send(RevokeLease(request, id_, held.lease.lease_id))


def _release_token(tx: Transaction, replaced: ReplacedToken) -> None:
    token = replaced.token
    if tx.now >= token.ends_at or replaced.revocation_denied or not token.ours:
        _forget_token(tx, token.id)
        return
    request = tx.new_id()
    _set_replaced(tx, replace(replaced, request=request))
    tx.send(RevokeToken(request, token.id))


def on_lease_revoked(tx: Transaction, id_: str) -> None:
    """Forget a revoked lease."""
    held = tx.leases.get(id_)
    if held is not None:
        tx.log("info", "lease revoked", path=str(held.lease.need), lease=held.lease.lease_id)
        tx.counters = replace(tx.counters, leases_revoked=tx.counters.leases_revoked + 1)
        _forget_lease(tx, id_)


def on_token_revoked(tx: Transaction, id_: str) -> None:
    """Forget a revoked token, and all leases that were revoked with it."""
    replaced = tx.session.replaced_tokens.get(id_)
    if replaced is not None:
        tx.log("info", "token revoked", accessor=replaced.token.accessor)
        for held in list(tx.leases.values()):
            if _is_revoked_with(held, id_):
                on_lease_revoked(tx, held.lease.id)
        _forget_token(tx, id_)


def _is_revoked_with(held: HeldLease, token: str) -> bool:
    return held.lease.ends_with_token and held.lease.token == token


def on_revocation_failed(tx: Transaction, command: RevokeLease | RevokeToken, failure: Failure) -> None:
    """Try again later, or let it expire if the revocation was denied."""
    is_denied = failure.kind not in {Kind.RATE_LIMITED, Kind.PATH_ERROR}
    if isinstance(command, RevokeToken):
        replaced = tx.session.replaced_tokens.get(command.token)
        if replaced is not None:
            _token_revocation_failed(tx, replaced, failure, is_denied=is_denied)
        return
    held = tx.leases.get(command.id)
    if held is None:
        return
    if failure.kind in {Kind.NOT_FOUND, Kind.INVALID}:
        _forget_lease(tx, command.id)
        return
    if is_denied:
        tx.log(
            "warning",
            "lease not revoked",
            path=str(held.lease.need),
            reason=failure.text,
            note="it expires by itself",
            todo="grant `update` on sys/leases/revoke",
        )
    next_at, since = tx.retry_at(held, failure), tx.failing_since(held)
    tx.leases[command.id] = replace(
        held, attempts=held.attempts + 1, since=since, next_at=next_at, revocation_denied=is_denied
    )


def _token_revocation_failed(tx: Transaction, replaced: ReplacedToken, failure: Failure, *, is_denied: bool) -> None:
    if is_denied:
        accessor = replaced.token.accessor
        tx.log("info", "token not revoked", accessor=accessor, reason=failure.text, note="it expires by itself")
    next_at, since = tx.retry_at(replaced, failure), tx.failing_since(replaced)
    attempts = replaced.attempts + 1
    _set_replaced(tx, replace(replaced, attempts=attempts, since=since, next_at=next_at, revocation_denied=is_denied))


def revocation_ended(tx: Transaction, command: RevokeToken) -> None:
    """The request to revoke a token is not under way any more."""
    replaced = tx.session.replaced_tokens.get(command.token)
    if replaced is not None:
        _set_replaced(tx, replace(replaced, request=None))


def is_everything_revoked(state: State) -> bool:
    """Whether the agent has revoked all that it can; the rest expires by itself."""
    pending = Login | IssueSecret | RevokeLease | RevokeToken
    if any(isinstance(request.command, pending) for request in state.requests.values()):
        return False
    replaced_tokens = state.session.replaced_tokens.values()
    if any(replaced.token.ours and not replaced.revocation_denied for replaced in replaced_tokens):
        return False
    left = (held for held in state.leases.values() if held.lease.lease_id and held.ended_at is None)
    return all(held.revocation_denied for held in left)


def _forget_lease(tx: Transaction, id_: str) -> None:
    del tx.leases[id_]
    tx.commands.append(ForgetLease(id_))


def _forget_token(tx: Transaction, id_: str) -> None:
    replaced = dict(tx.session.replaced_tokens)
    replaced.pop(id_, None)
    tx.session = replace(tx.session, replaced_tokens=replaced)
    tx.commands.append(ForgetToken(id_))


def _set_replaced(tx: Transaction, replaced: ReplacedToken) -> None:
    tokens = dict(tx.session.replaced_tokens) | {replaced.token.id: replaced}
    tx.session = replace(tx.session, replaced_tokens=tokens)
