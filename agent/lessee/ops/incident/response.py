"""Revokes and rotates in order, checks again until nothing has access, and returns what could not be done."""

import time
from collections.abc import Callable, Iterable

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.printable import counted
from lessee.host.progress import SILENT, Progress
from lessee.ops.incident import engine_state
from lessee.ops.incident.discovery import discover, update_policies
from lessee.ops.incident.policy.findings import Findings
from lessee.ops.incident.policy.plan import Change, Step, plan
from lessee.ops.incident.policy.report import ChangeResult
from lessee.ops.incident.record import RecordFile
from lessee.ops.incident.requests import THREADS, request_all
from lessee.vault.admin import AdminClient
from lessee.vault.engines.leases import ISSUE_TIMEOUT

_MAX_ROUNDS = 3
"""Clients whose access was not revoked yet may have created new tokens or secret_ids in the meantime."""
_ROTATIONS = frozenset({Step.VAULT_ROTATIONS, Step.TARGET_ROTATIONS})
_CONCURRENT = frozenset({Step.SECRET_IDS, Step.TOKENS})
_PHASES = {
    Step.SECRET_IDS: "revoking secret_ids",
    Step.TOKENS: "revoking tokens",
    Step.LEASES: "revoking leases",
    Step.VAULT_ROTATIONS: "rotating in Vault's engines",
    Step.TARGET_ROTATIONS: "rotating targets",
}
_ACCESSORS = "auth/token/accessors"
_RECHECK_DELAYS = (0.0, 0.1, 0.4, 1.5)
"""Seconds before each new check of what could not be revoked, which may end by itself."""
_LEASE_PROGRESS_TIMEOUT = 5.0
"""Seconds without one lease less, after which the rest of a prefix is not waited for."""
_LEASE_TIMEOUT = 120.0
_LEASE_POLL = 0.1


class ResponseResult(ImmutableStruct, frozen=True):
    """The changes that were tried, the findings afterwards, and what is not done."""

    results: tuple[ChangeResult, ...]
    after: Findings
    not_done: tuple[str, ...]


def respond(
    client: AdminClient,
    before: Findings,
    changes: Iterable[Change],
    file: RecordFile,
    rotate: Callable[[str], object],
    progress: Progress = SILENT,
) -> ResponseResult:
    """Make the changes, and continue after errors: an error counts only where its object still exists at the end.

    `rotate` rotates a target by its name. Rotations run after the last round, when no revoked client can read them.
    """
    results: dict[str, ChangeResult] = {}
    changes = tuple(changes)
    pending, after = tuple(change for change in changes if change.step not in _ROTATIONS), before

    def write(change: Change) -> None:
        client.with_timeout(ISSUE_TIMEOUT).write(change.path, change.body)

    for _ in range(_MAX_ROUNDS):
        for step in Step:
            some = [change for change in pending if change.step is step]
            results |= {result.change.name: result for result in _make(write, some, file, client, progress)}
            if step is Step.LEASES:
                _wait_for_leases(client, [change.subject for change in some], progress)
        after = _discover_again(client, before, progress)
        pending = plan(after, ())
        file.write("rechecked", remaining=[change.name for change in pending], problems=after.problems)
        if not [change for change in pending if change.step is not Step.LEASES]:
            break
    rotations = ((Step.VAULT_ROTATIONS, write), (Step.TARGET_ROTATIONS, lambda change: rotate(change.subject)))
    for step, action in rotations:
        some = [change for change in changes if change.step is step]
        results |= {result.change.name: result for result in _make(action, some, file, client, progress)}
    progress.done()
    remaining = {change.name for change in pending}
    final = tuple(_final_result(result, remaining, after) for result in results.values())
    untried = [change.name for change in pending if change.name not in results]
    failed = (f"{result.change.name}: {result.error}" for result in final if result.error)
    not_done = (*failed, *untried, *after.problems)
    return ResponseResult(final, after, tuple(dict.fromkeys(not_done)))


def _discover_again(client: AdminClient, before: Findings, progress: Progress) -> Findings:
    """Clients that may write policies may have written a new one."""
    try:
        return discover(client, update_policies(client, before), progress)
    except LesseeError as exc:
        findings = discover(client, before, progress)
        return replace(findings, problems=(*findings.problems, f"policies: {exc}"))


def _make(
    action: Callable[[Change], object],
    changes: list[Change],
    file: RecordFile,
    client: AdminClient,
    progress: Progress,
) -> Iterable[ChangeResult]:
    def record_done(change: Change) -> None:
        file.write("done", step=change.step, change=change.name)

    def make(change: Change) -> None:
        action(change)
        record_done(change)

    # A static role cannot be rotated while its connection's root credential is.
    concurrent = all(change.step in _CONCURRENT for change in changes)
    if changes:
        progress.phase(_PHASES[changes[0].step], len(changes))
    outcomes = request_all(make, changes, progress, threads=THREADS if concurrent else 1)
    failed = {change.name: change for change, outcome in zip(changes, outcomes, strict=True) if outcome}
    existing = _still_existing(client, failed.values()) if concurrent else set(failed)
    for change, outcome in zip(changes, outcomes, strict=True):
        if not isinstance(outcome, LesseeError):
            yield ChangeResult(change)
        elif change.name in existing:
            file.write("failed", step=change.step, change=change.name, error=str(outcome))
            yield ChangeResult(change, str(outcome))
        else:
            record_done(change)
            yield ChangeResult(change)


def _still_existing(client: AdminClient, changes: Iterable[Change]) -> set[str]:
    """The changes whose objects are still listed: a token ends with its parent, maybe just before its own request."""
    remaining = list(changes)
    for delay in _RECHECK_DELAYS:
        if not remaining:
            break
        time.sleep(delay)
        paths = dict.fromkeys(
            _ACCESSORS if change.step is Step.TOKENS else _secret_id_list(change) for change in remaining
        )
        try:
            listed = {name for path in paths for name in client.list(path)}
        except LesseeError:
            break
        remaining = [change for change in remaining if not listed.isdisjoint(change.body.values())]
    return {change.name for change in remaining}


def _secret_id_list(change: Change) -> str:
    return change.path.removesuffix("-accessor/destroy")


def _final_result(result: ChangeResult, remaining: set[str], after: Findings) -> ChangeResult:
    """The result by the last check. Only the request's own result counts for a rotation."""
    change = result.change
    if change.step in _ROTATIONS:
        return result
    if change.name not in remaining:
        # What could not be checked again may still exist.
        return result if after.problems else ChangeResult(change)
    if change.step is Step.LEASES:
        prefix = change.subject
        count = after.leases.get(prefix)
        number = "an unknown number of leases" if count is None else counted(count, "lease")
        reason = f" ({result.error})" if result.error else ""
        todo = f"check the system that they belong to; Vault retries; `bao lease revoke -force -prefix {prefix}`"
        return ChangeResult(change, f"{number} left{reason}; {todo} removes them without it")
    return ChangeResult(change, result.error or "it still exists")


def _wait_for_leases(client: AdminClient, prefixes: list[str], progress: Progress) -> None:
    """Wait while Vault revokes leases in the background."""
    end = time.monotonic() + _LEASE_TIMEOUT
    for prefix in prefixes:
        total, fewest, since = 0, None, time.monotonic()
        while time.monotonic() < min(end, since + _LEASE_PROGRESS_TIMEOUT):
            try:
                count = engine_state.count_leases(client, prefix)
            except LesseeError:
                break
            if not count:
                break
            if fewest is None:
                progress.phase("waiting until leases are revoked", total := count)
            progress.reach(total - count)
            if fewest is None or count < fewest:
                fewest, since = count, time.monotonic()
            time.sleep(_LEASE_POLL)
