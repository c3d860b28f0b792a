"""When leases are renewed or looked up, and when they end.

issued ──► renewed, renewed … ──► capped, or its token expires ──► a successor is issued (issuance) ──► release
"""

from functools import partial
from itertools import islice

from lessee.agent.machine.affected import affected_leases, note_deadlines
from lessee.agent.machine.kv.needs import mark_dirty
from lessee.agent.machine.leases.consumers import unused_at
from lessee.agent.machine.leases.state import HeldLease
from lessee.agent.machine.session.login import suspect_token
from lessee.agent.machine.session.outage import may_request
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.agent.machine.ttl import CAPPED_RATIO, final_seconds, is_short, renewal_delay, timeout_before_end
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.protocol.commands import LeaseCommand, LookUpLease, RenewLease, StoreLease
from lessee.protocol.events import LeaseRenewed

MAX_PENDING_REQUESTS = 8
"""Concurrent requests about leases. Reads have as many of their own."""


def plan_renewals(tx: Transaction) -> None:
    """Note which leases have ended, and renew or look up those that are due."""
    for id_ in tx.leases.in_order({*affected_leases(tx), *tx.lease_deadlines.due(tx.now)}):
        held = tx.leases[id_]
        if tx.now >= end_due_at(tx, held):
            lease_ended(tx, id_, held)
    due = islice(tx.renewal_deadlines.due(tx.now), free_lease_slots(tx))
    for id_ in tx.leases.in_order({*affected_leases(tx), *due}):
        if not may_request_leases(tx):
            break
        if tx.now >= renewal_due_at(tx, tx.leases[id_]):
            _renew_or_look_up(tx, id_, tx.leases[id_])


def next_renewal_at(state: State) -> float:
    """When `plan_renewals` has a request to send."""
    return state.deadlines.renewals.first_due_at if may_request_leases(state) else NEVER


def set_renewal_deadlines(tx: Transaction) -> None:
    """Note when the leases are renewed that this step concerns."""
    note_deadlines(tx.renewal_deadlines, tx.leases, affected_leases(tx), partial(renewal_due_at, tx))


def may_request_leases(state: StateView) -> bool:
    """Whether one more request about a lease may be sent now."""
    return may_request(state) and has_free_slot(state)


def has_free_slot(state: StateView) -> bool:
    """Whether fewer requests about leases are under way than allowed."""
    return free_lease_slots(state) > 0


def free_lease_slots(state: StateView) -> int:
    """How many more requests about leases may be under way."""
    pending = sum(isinstance(request.command, LeaseCommand) for request in state.requests.values())
    return max(0, MAX_PENDING_REQUESTS - pending)


def renewal_due_at(state: StateView, held: HeldLease) -> float:
    """When to renew a lease, or to look it up if a previous run stored it; NEVER in its final seconds."""
    if held.request is not None or held.status == "superseded":
        return NEVER
    if held.status == "unused" and unused_at(state, held) != NEVER:
        return NEVER  # It is about to be released.
    if not held.verified:
        return held.next_at
    at = max(held.renew_at, held.next_at)
    is_in_time = at <= ends_at(state, held.lease) - final_seconds(held.lease.ttl)
    return at if held.ended_at is None and is_in_time else NEVER


def end_due_at(state: StateView, held: HeldLease) -> float:
    """When to note that a lease has ended."""
    return ends_at(state, held.lease) if held.ended_at is None else NEVER


def ends_at(state: StateView, lease: Lease) -> float:
    """When a lease ends: by its ttl, or with the token under which it was issued. A static role never ends."""
    if lease.static:
        return NEVER
    if not lease.ends_with_token:
        return lease.ends_at
    session = state.session
    token = session.token
    if token is None or token.id != lease.token:
        replaced = session.replaced_tokens.get(lease.token)
        token = replaced.token if replaced is not None else None
    return min(lease.ends_at, token.ends_at) if token is not None else lease.ends_at


def schedule(tx: Transaction, held: HeldLease) -> HeldLease:
    """The lease with the times of its renewal and replacement."""
    lease = held.lease
    # As its call in a template says, however long it is valid.
    latest = lease.issued_at + lease.need.every * (0.9 + 0.1 * tx.random()) if lease.need.every else NEVER
    if not lease.ttl:
        return replace(held, replace_at=latest)
    renew_at = lease.sent_at + renewal_delay(tx, lease.ttl)
    if not lease.renewable or is_short(lease.ttl):
        return replace(held, renew_at=NEVER, replace_at=min(renew_at, latest))
    # If no renewal succeeds, a successor is issued in time.
    replace_at = lease.sent_at + lease.ttl * (0.8 + 0.1 * tx.random())
    return replace(held, renew_at=renew_at, replace_at=min(replace_at, latest))


def _renew_or_look_up(tx: Transaction, id_: str, held: HeldLease) -> None:
    seconds_left = ends_at(tx, held.lease) - tx.now
    if held.verified and seconds_left < final_seconds(held.lease.ttl):
        tx.leases[id_] = replace(held, renew_at=NEVER, replace_at=tx.now)
        return
    request = tx.new_id()
    tx.leases[id_] = replace(held, request=request)
    command = RenewLease if held.verified else LookUpLease
    tx.send(command(request, id_, held.lease.lease_id), timeout=timeout_before_end(seconds_left))


def on_lease_renewed(tx: Transaction, command: RenewLease | LookUpLease, event: LeaseRenewed) -> None:
    """The lease is valid, and the event says for how long."""
    held = tx.leases.get(command.id)
    if held is None:
        return
    before = held.lease
    is_shorter = bool(before.ttl) and event.ttl < before.ttl
    # A shorter ttl than before is the rest of the longer one: the lease is as close to its end as its age says.
    ttl = before.ttl if is_shorter else event.ttl
    lease = replace(before, sent_at=event.sent_at + event.ttl - ttl, ttl=ttl)
    if isinstance(command, RenewLease):
        tx.counters = replace(tx.counters, lease_renewals=tx.counters.lease_renewals + 1)
        tx.log("debug", "lease renewed", path=str(lease.need), ttl=round(event.ttl))
        is_capped = is_shorter and event.ttl < before.ttl * CAPPED_RATIO
        lease = replace(lease, renewable=event.renewable and not is_capped)
    else:
        tx.log("info", "reusing saved lease", path=str(lease.need), ttl=round(event.ttl))
        lease = replace(lease, renewable=before.renewable and event.renewable)
    store_lease(tx, lease)
    if held.ended_at is not None:
        mark_dirty(tx, lease.need)
    tx.leases[lease.id] = schedule(tx, HeldLease(lease, held.status))


def on_renewal_failed(tx: Transaction, command: RenewLease | LookUpLease, failure: Failure) -> None:
    """The lease remains as long as it is valid, and its successor is issued in time."""
    held = tx.leases.get(command.id)
    if held is None:
        return
    lease = held.lease
    if failure.kind is Kind.DENIED:
        suspect_token(tx)
    if failure.kind in {Kind.NOT_FOUND, Kind.INVALID}:
        lease_ended(tx, lease.id, replace(held, verified=True))
        return
    if held.failure != failure:
        tx.log("warning", "lease not renewed", path=str(lease.need), reason=failure.text)
    retry_at, since = tx.retry_at(held, failure), tx.failing_since(held)
    latest = tx.now + max(1.0, (ends_at(tx, lease) - tx.now) / 4)
    held = replace(held, attempts=held.attempts + 1, since=since, failure=failure, next_at=min(retry_at, latest))
    is_refused = failure.kind in {Kind.DENIED, Kind.UNSUPPORTED}
    if is_refused and isinstance(command, LookUpLease):
        held = replace(held, verified=True)  # The saved ttl says when it ends.
    elif failure.kind is Kind.UNSUPPORTED:
        held = replace(held, renew_at=NEVER, replace_at=tx.now)
    tx.leases[lease.id] = held


def lease_ended(tx: Transaction, id_: str, held: HeldLease) -> None:
    """Note that a lease has ended, whose successor is issued next."""
    lease = held.lease
    if held.status == "current":
        apps = ", ".join(sorted(lease.apps))
        tx.log("warning", "lease expired", path=str(lease.need), lease=lease.lease_id, apps=apps)
    tx.leases[id_] = replace(held, ended_at=tx.now)


def store_lease(tx: Transaction, lease: Lease) -> None:
    """Save a lease in the state store. A static role has no lease in Vault."""
    if not lease.static:
        tx.commands.append(StoreLease(lease))
