"""Outages: Vault serves no request, so all requests wait except for one probe at a time.

a request fails ──► outage suspected: one probe ──► success: only that path is affected
                              │
                              └──► failure: outage confirmed and logged; probes at growing intervals until one succeeds

Probes about the token and of what the apps need take turns, so that no path that is broken alone keeps up an outage.
"""

from lessee.agent.machine.session.state import Outage
from lessee.agent.machine.state import PendingRequest
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.backoff import delay
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.protocol.commands import SessionCommand, VaultCommand

MAX_PATH_ERRORS = 3
"""Consecutive path errors that the agent takes for an outage, although each of them concerns one path."""
RELAPSE = 15.0
"""Seconds after an outage in which another one counts as its continuation."""


def may_request(state: StateView) -> bool:
    """Whether requests other than those for the session may be sent now."""
    session = state.session
    is_available = session.outage is None or session.outage.is_open
    return session.token is not None and is_available and not state.stopping and session.uses_left != 0


def is_turn_of_paths(state: StateView) -> bool:
    """Whether the probe that is due is a request of what the apps need, if there is one."""
    session = state.session
    outage = session.outage
    if outage is None or session.token is None or state.stopping:
        return False
    return outage.only_token or outage.attempts % 2 == (0 if session.unanswered else 1)


def probe_due_at(state: StateView, outage: Outage) -> float:
    """When to send the next probe."""
    return min(outage.next_at, paths_due_at(state)) if outage.only_token else outage.next_at


def paths_due_at(state: StateView) -> float:
    """When what the apps need is due, were there no outage."""
    if isinstance(state, Transaction):
        leases = state.renewal_deadlines.first_due_at, state.issuance_deadlines.first_due_at
    else:
        leases = state.deadlines.renewals.first_due_at, state.deadlines.issuances.first_due_at
    reads = state.mounts.first_due_at, state.folders.first_due_at, state.secrets.first_due_at
    return min(*leases, *reads)


def is_probing_path(state: StateView) -> bool:
    """Whether the probe under way is a request of what the apps need."""
    outage = state.session.outage
    return outage is not None and outage.probe in state.requests


def is_unanswered(state: StateView, command: SessionCommand) -> bool:
    """Whether the last request of this type, about the token, had no answer either."""
    return type(command).__name__ in state.session.unanswered


def note_answer(tx: Transaction, command: VaultCommand) -> None:
    """A request had an answer, whatever that was."""
    name = type(command).__name__
    if name in tx.session.unanswered:
        tx.session = replace(tx.session, unanswered=tx.session.unanswered - {name})


def is_path_failure(tx: Transaction, request: PendingRequest, failure: Failure, *, repeated: bool) -> bool:
    """Whether only this path failed: other requests succeeded since this one was sent, or it also failed before."""
    if failure.kind is not Kind.UNAVAILABLE:
        return True
    session = tx.session
    is_answering = session.last_response_at is not None and session.last_response_at > request.sent_at
    return session.outage is None and (repeated or is_answering)


def note_outage(tx: Transaction, command: VaultCommand, request: PendingRequest, failure: Failure) -> None:
    """Suspect an outage, or confirm it if the failed request was a probe."""
    is_about_token = isinstance(command, SessionCommand)
    if is_about_token:
        tx.session = replace(tx.session, unanswered=tx.session.unanswered | {type(command).__name__})
    session, now = tx.session, tx.now
    if session.outage is None and session.token is not None:
        outage = Outage(since=now, attempts=0, next_at=now, text=failure.text, only_token=is_about_token)
        tx.session = replace(session, outage=outage)
    elif (
        session.outage is None
        or (is_about_token and request.sent_at >= session.outage.since)
        or session.outage.probe == command.request_id
    ):
        _confirm(tx, request, failure)
    # Requests that were under way when the outage began are no probes.


def note_path_error(tx: Transaction, request: PendingRequest, failure: Failure) -> None:
    """Count a path error: several without a success between them are an outage."""
    session = tx.session
    path_errors = session.path_errors + 1
    tx.session = replace(session, path_errors=path_errors)
    if session.outage is not None or path_errors >= MAX_PATH_ERRORS:
        _confirm(tx, request, failure)


def end_outage(tx: Transaction) -> None:
    """Vault served a request, or gave a definite reason why it does not."""
    session, now = tx.session, tx.now
    outage = session.outage
    if outage is not None and outage.is_confirmed:
        seconds = round(now - outage.since, 1)
        if tx.source:
            tx.log("info", "source available", source=tx.source, outage_seconds=seconds)
        else:
            tx.log("info", "vault available", outage_seconds=seconds)
        session = replace(session, last_outage=outage, outage_ended_at=now)
    tx.session = replace(session, outage=None, last_response_at=now, path_errors=0)


def _confirm(tx: Transaction, request: PendingRequest, failure: Failure) -> None:
    outage = _current_or_relapsed(tx)
    if not outage.is_confirmed or outage.text != failure.text:
        if tx.source:
            tx.log("warning", "source unavailable", source=tx.source, reason=failure.text)
        else:
            tx.log("warning", "vault unavailable", reason=failure.text)
    now = tx.now
    wait = delay(outage.attempts, tx.random(), duration=now - outage.since)
    # A probe that hung until its timeout was itself a wait.
    next_at = now + tx.at_least_retry_after(max(request.sent_at + wait - now, wait / 4), failure)
    outage = Outage(
        outage.since,
        outage.attempts + 1,
        next_at,
        failure.text,
        last_failure_at=now,
        only_token=outage.only_token and isinstance(request.command, SessionCommand),
    )
    tx.session = replace(tx.session, outage=outage)


def _current_or_relapsed(tx: Transaction) -> Outage:
    session, now = tx.session, tx.now
    outage = session.outage or Outage(since=now, attempts=0, next_at=now, text="")
    if not outage.is_confirmed and session.last_outage is not None and now - session.outage_ended_at < RELAPSE:
        return session.last_outage
    return outage
