"""Dynamic secrets: each is issued once for all apps that read it, and again before its lease ends.

issue ──► store ──► render, publish, notify ──► renewals ──► issue a successor ──► render, publish, notify ──► release
"""

from collections.abc import Mapping
from functools import partial
from itertools import islice

from lessee.agent.machine.affected import affected_issuances, apps_that_need, note_deadlines
from lessee.agent.machine.kv.needs import input_values, mark_dirty
from lessee.agent.machine.kv.polling import is_read_due
from lessee.agent.machine.leases.renewal import ends_at, free_lease_slots, may_request_leases, schedule, store_lease
from lessee.agent.machine.leases.state import HeldLease, Issuance, LeaseStatus, takes_inputs
from lessee.agent.machine.session.login import is_token_request_pending, suspect_token
from lessee.agent.machine.session.state import NEVER, ReplacedToken
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import REQUEST_TIMEOUT, StateView, Transaction
from lessee.agent.machine.ttl import FINAL_SECONDS, SHORT_TTL, is_short, replacement_delay
from lessee.core.failures import Failure, Kind, denial_help
from lessee.core.immutable import replace
from lessee.core.leases import Lease, digest_of
from lessee.core.paths import DynamicSecret
from lessee.protocol.app_spec import AppSpec
from lessee.protocol.commands import IssueSecret, Login, RevokeLease
from lessee.protocol.events import LeasesRecovered

MIN_ISSUE_TIMEOUT = 10.0
"""Seconds that every issuance may take, because Vault waits for another system."""
RENEWAL_GRACE = 2.0
"""Seconds for which a successor that is due waits for a renewal under way."""
MAX_LOOKUPS = 2
"""Failed look-ups of a lease that seems to have ended, before a successor is issued."""
STATIC_POLL_INTERVAL = 10.0
"""The minimum number of seconds between two reads of a static role, which an operator may rotate manually."""
OVERDUE_POLL_INTERVAL = 1.0
"""The same once its rotation is due: the server rotates it within a few seconds."""
OVERDUE_POLLS = 3
"""Reads of a static role whose rotation is due, after which the interval between them doubles."""


_NOT_RENEWED = f"a lease of less than {SHORT_TTL:g} s is replaced ever more rarely; set a longer ttl"


def configure_leases(tx: Transaction, specs: Mapping[str, AppSpec]) -> None:
    """Issue what the apps need. Leases of what they still need remain; others become unused."""
    needs = _needs(specs)
    shortest = min((refresh_interval for refresh_interval, _ in needs.values()), default=NEVER)
    tx.session = replace(tx.session, lease_refresh_interval=shortest)
    known = tx.issuances
    for need in set(known) - set(needs):
        _set_status(tx, known[need].lease, "unused")
    issuances: dict[DynamicSecret, Issuance] = {}
    for need, (refresh_interval, apps) in sorted(needs.items(), key=str):
        issuance = known.get(need) or Issuance(
            refresh_interval, lease=_unused_lease(tx, need), inputs=None if need.inputs else ""
        )
        issuances[need] = issuance = replace(issuance, refresh_interval=refresh_interval)
        held = tx.leases.get(issuance.lease or "")
        if held is not None:
            lease = replace(held.lease, apps=held.lease.apps | apps)
            if lease != held.lease:
                store_lease(tx, lease)
            tx.leases[lease.id] = replace(held, lease=lease, status="current")
    tx.issuances.replace_all(issuances)
    for id_, held in list(tx.leases.items()):
        if held.lease.static and held.lease.need not in needs:
            del tx.leases[id_]


def _needs(specs: Mapping[str, AppSpec]) -> Mapping[DynamicSecret, tuple[float, frozenset[str]]]:
    """The shortest `refresh_interval` and the apps of each dynamic secret."""
    needs: dict[DynamicSecret, tuple[float, frozenset[str]]] = {}
    for name, spec in specs.items():
        for need in spec.needs:
            if isinstance(need, DynamicSecret):
                refresh_interval, apps = needs.get(need, (spec.refresh_interval, frozenset()))
                needs[need] = min(refresh_interval, spec.refresh_interval), apps | {name}
    return needs


def _unused_lease(tx: Transaction, need: DynamicSecret) -> str | None:
    """A lease of this secret that was not needed for a while, and is not revoked yet."""
    for id_, held in tx.leases.items():
        is_being_revoked = held.request is not None and isinstance(tx.requests[held.request].command, RevokeLease)
        if held.lease.need == need and held.status == "unused" and not is_being_revoked and held.ended_at is None:
            return id_
    return None


def _set_status(tx: Transaction, id_: str | None, status: LeaseStatus) -> None:
    if id_ is not None and id_ in tx.leases:
        tx.leases[id_] = replace(tx.leases[id_], status=status)


def plan_issuance(tx: Transaction) -> None:
    """Have the dynamic secrets issued that are due."""
    _note_inputs(tx)
    if not may_issue(tx):
        return
    if tx.session.outage is not None and is_read_due(tx):
        return  # As a probe it is the last choice: the lease of a lost answer is not revoked.
    due = islice(tx.issuance_deadlines.due(tx.now), free_lease_slots(tx))
    for need in tx.issuances.in_order({*affected_issuances(tx), *due}):
        if not may_request_leases(tx):
            break
        if tx.now >= issue_due_at(tx, tx.issuances[need]):
            _issue(tx, need, tx.issuances[need])


def set_issuance_deadlines(tx: Transaction) -> None:
    """Note when the issuances are due that this step concerns."""
    note_deadlines(tx.issuance_deadlines, tx.issuances, affected_issuances(tx), partial(issue_due_at, tx))


def next_issuance_at(state: State) -> float:
    """When `plan_issuance` has something to do."""
    return state.deadlines.issuances.first_due_at if may_issue(state) and may_request_leases(state) else NEVER


def may_issue(state: StateView) -> bool:
    """Whether a lease issued now would outlive the token: not while a login is about to replace it."""
    session = state.session
    is_login_pending = any(isinstance(request.command, Login) for request in state.requests.values())
    return session.failure is not None or not is_login_pending


def issue_due_at(state: StateView, issuance: Issuance) -> float:
    """When to have a dynamic secret issued: initially, and before its current lease ends."""
    if issuance.request is not None or issuance.inputs is None:
        return NEVER
    held = state.leases.get(issuance.lease or "")
    if held is None or held.lease.inputs != issuance.inputs:
        return issuance.next_at
    if _ends_with_its_token(state, held) and is_token_request_pending(state):
        return NEVER
    if not held.verified and not (held.ended_at is not None and held.attempts >= MAX_LOOKUPS):
        return NEVER  # It is looked up first.
    if held.ended_at is not None or is_of_another_token(state, held):
        return issuance.next_at
    at = max(held.replace_at, issuance.next_at)
    # A renewal under way may make a successor unnecessary.
    return at if held.request is None else max(at, state.requests[held.request].sent_at + RENEWAL_GRACE)


def _issue(tx: Transaction, need: DynamicSecret, issuance: Issuance) -> None:
    token = tx.session.token
    assert token is not None
    held = tx.leases.get(issuance.lease or "")
    if held is not None and _ends_with_its_token(tx, held):
        tx.session = replace(tx.session, login_at=tx.now)
        return
    request = tx.new_id()
    tx.issuances[need] = replace(issuance, request=request)
    # A late response is used or revoked, but a request that hangs must not outlast the current lease.
    seconds_left = ends_at(tx, held.lease) - tx.now if held is not None else NEVER
    timeout = min(REQUEST_TIMEOUT, max(MIN_ISSUE_TIMEOUT, seconds_left / 2))
    tx.send(IssueSecret(request, need, token.id, input_values(tx, need) or {}), timeout=timeout)


def _note_inputs(tx: Transaction) -> None:
    """Note which values the parameters from secrets have: with others, a secret is issued again."""
    if not tx.issuances.count(takes_inputs):
        return
    for need in [need for need in tx.issuances if need.inputs]:
        values, issuance = input_values(tx, need), tx.issuances[need]
        inputs = digest_of(values) if values is not None else None
        if inputs != issuance.inputs:
            # Another value may succeed immediately.
            next_at = issuance.next_at if inputs is None or issuance.failure is None else tx.now
            tx.issuances[need] = replace(issuance, inputs=inputs, next_at=next_at)


def _ends_with_its_token(state: StateView, held: HeldLease) -> bool:
    """Whether a successor under the same token would end no later, so that a login must come first if possible."""
    session, token = state.session, state.session.token
    if token is None or not token.ours or session.renew_at != NEVER or session.failure is not None:
        return False
    lease = held.lease
    return lease.ends_with_token and lease.token == token.id and lease.ends_at > token.ends_at - FINAL_SECONDS


def is_of_another_token(state: StateView, held: HeldLease) -> bool:
    """Whether a lease was issued under a token that is not in use any more, and so ends with that one."""
    token = state.session.token
    return token is not None and held.lease.token != token.id and held.lease.ends_with_token


def on_secret_issued(tx: Transaction, lease: Lease) -> None:
    """Store the lease, then use it. Its predecessor is released once the apps are notified."""
    need = lease.need
    issuance = tx.issuances.get(need)
    lease = replace(lease, apps=frozenset(apps_that_need(tx, need)))
    if lease.static:
        if issuance is not None:
            _static_role_read(tx, issuance, lease)
        return
    store_lease(tx, lease)
    tx.counters = replace(tx.counters, leases_issued=tx.counters.leases_issued + 1)
    tx.log("info", "lease issued", path=str(need), lease=lease.lease_id, ttl=round(lease.ttl))
    tx.leases[lease.id] = schedule(tx, HeldLease(lease, "current" if issuance is not None else "unused"))
    if issuance is not None:
        _set_status(tx, issuance.lease, "superseded")
        quick = issuance.quick + 1 if is_short(lease.ttl) else 0
        next_at = tx.now + replacement_delay(tx, quick)
        if quick == 1:
            tx.log("warning", "lease ends too soon", path=str(need), ttl=lease.ttl, note=_NOT_RENEWED)
        tx.issuances[need] = Issuance(
            issuance.refresh_interval,
            lease=lease.id,
            quick=quick,
            next_at=next_at,
            request=issuance.request,
            inputs=issuance.inputs,
        )
        mark_dirty(tx, need)


def on_secret_issued_late(tx: Transaction, lease: Lease) -> None:
    """A lease arrives after its request was abandoned: use it if there is no other, else revoke it."""
    issuance = tx.issuances.get(lease.need)
    held = tx.leases.get(issuance.lease or "") if issuance is not None else None
    if issuance is not None and (held is None or held.ended_at is not None):
        on_secret_issued(tx, lease)
    elif not lease.static:
        store_lease(tx, lease)
        tx.leases[lease.id] = HeldLease(lease, "superseded")


def _static_role_read(tx: Transaction, issuance: Issuance, lease: Lease) -> None:
    # Another password is another lease: a rollback must not return to a password that is not valid any more.
    before = tx.leases.pop(issuance.lease or "", None)
    if before is None or before.lease.secret.data != lease.secret.data:
        if lease.ttl:
            tx.log("info", "static role read", path=str(lease.need), rotates_in=round(lease.ttl))
        else:
            tx.log("info", "path read", path=str(lease.need))
        mark_dirty(tx, lease.need)
    # What a template reads at any path is read as often as its call says, which may be never.
    every = lease.need.every
    longest = max(STATIC_POLL_INTERVAL, issuance.refresh_interval) if every is None else every or NEVER
    interval = longest * (0.9 + 0.1 * tx.random())
    is_overdue = lease.ends_at - tx.now < OVERDUE_POLL_INTERVAL
    quick = issuance.quick + 1 if is_overdue else 0
    shortest = OVERDUE_POLL_INTERVAL * 2.0 ** min(quick // OVERDUE_POLLS, 10)
    replace_at = tx.now + min(interval, max(shortest, lease.ends_at - tx.now))
    tx.leases[lease.id] = HeldLease(lease, replace_at=replace_at)
    tx.issuances[lease.need] = Issuance(issuance.refresh_interval, lease=lease.id, quick=quick, inputs=issuance.inputs)


def on_issue_failed(tx: Transaction, command: IssueSecret, failure: Failure) -> None:
    """The current lease remains."""
    issuance = tx.issuances.get(command.need)
    if issuance is None:
        return
    if failure.kind is Kind.DENIED:
        suspect_token(tx)
    if issuance.failure != failure:
        what = "path not read" if command.need.is_polled else "lease not issued"
        tx.log("warning", what, path=str(command.need), reason=failure.text, **denial_help(failure))
    next_at, since = tx.retry_at(issuance, failure), tx.failing_since(issuance)
    tx.issuances[command.need] = replace(
        issuance, attempts=issuance.attempts + 1, since=since, failure=failure, next_at=next_at
    )


def on_leases_recovered(tx: Transaction, event: LeasesRecovered) -> None:
    """Leases of a previous run: the newest of each secret is used again, once it was looked up."""
    replaced = {token.id: ReplacedToken(token) for token in event.tokens}
    tx.session = replace(tx.session, replaced_tokens=replaced | dict(tx.session.replaced_tokens))
    newest = {lease.need: lease for lease in sorted(event.leases, key=lambda lease: lease.issued_at)}
    for lease in event.leases:
        issuance = tx.issuances.get(lease.need)
        status: LeaseStatus = "current" if issuance is not None else "unused"
        if newest[lease.need] is not lease:
            status = "superseded"
        elif issuance is not None:
            tx.issuances[lease.need] = replace(issuance, lease=lease.id)
            mark_dirty(tx, lease.need)
        tx.leases[lease.id] = schedule(tx, HeldLease(lease, status, verified=not lease.lease_id))


def replace_leases_of_other_tokens(tx: Transaction) -> None:
    """After a login, leases under the previous token are replaced, and denied issuances are tried again."""
    for id_, held in tx.leases.items():
        if held.status == "current" and is_of_another_token(tx, held):
            tx.leases[id_] = replace(held, verified=True)
    for need, issuance in tx.issuances.items():
        if issuance.failure is not None and issuance.failure.kind is Kind.DENIED:
            tx.issuances[need] = replace(issuance, next_at=tx.now)
