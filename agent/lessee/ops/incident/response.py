"""Strikes in order, looks again until nobody is left, and says what could not be done."""

import time
from collections.abc import Callable, Iterable

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.incident import engine_state
from lessee.ops.incident.discovery import judge, look
from lessee.ops.incident.policy.findings import Sight
from lessee.ops.incident.policy.plan import Change, Step, plan
from lessee.ops.incident.policy.report import Outcome
from lessee.ops.incident.record import RecordFile
from lessee.ops.incident.requests import THREADS, side_by_side
from lessee.vault.admin import AdminClient
from lessee.vault.engines.leases import ISSUE_TIMEOUT

_ROUNDS = 3
"""Who was not yet struck may have made something new meanwhile."""
_ROTATED = frozenset({Step.ROTATION, Step.TARGETS})
_LISTED = frozenset({Step.LOGINS, Step.TOKENS})
_ACCESSORS = "auth/token/accessors"
_PAUSES = (0.0, 0.1, 0.4, 1.5)
"""Before it is looked again for what could not be ended: it may be about to end."""
_PATIENCE = 5.0
"""Seconds without a lease less, after which Vault is left alone with the rest."""
_LONGEST = 120.0
_PAUSE = 0.1


class Struck(ImmutableStruct, frozen=True):
    """What was tried, how things are afterwards, and what is not done."""

    outcomes: tuple[Outcome, ...]
    after: Sight
    undone: tuple[str, ...]


def strike(
    client: AdminClient,
    before: Sight,
    changes: Iterable[Change],
    file: RecordFile,
    rotate: Callable[[str], object],
) -> Struck:
    """Go on after errors: an error counts only where what it was about is still there at the end.

    `rotate` a target, by its name. What is rotated is so after the last round, when nobody is left to read it.
    """
    outcomes: dict[str, Outcome] = {}
    changes = tuple(changes)
    pending, after = tuple(change for change in changes if change.step not in _ROTATED), before

    def write(change: Change) -> None:
        client.with_timeout(ISSUE_TIMEOUT).write(change.path, change.body)

    for _ in range(_ROUNDS):
        for step in Step:
            some = [change for change in pending if change.step is step]
            outcomes |= {one.change.what: one for one in _obey(write, some, file, client)}
            if step is Step.LEASES:
                _wait_for_leases(client, [change.about for change in some])
        after = _look_again(client, before)
        pending = plan(after, ())
        file.write("looked again", left=[change.what for change in pending], problems=after.problems)
        if not [change for change in pending if change.step is not Step.LEASES]:
            break
    for step, action in ((Step.ROTATION, write), (Step.TARGETS, lambda change: rotate(change.about))):
        some = [change for change in changes if change.step is step]
        outcomes |= {one.change.what: one for one in _obey(action, some, file, client)}
    left = {change.what for change in pending}
    settled = tuple(_settled(one, left, after) for one in outcomes.values())
    unseen = [change.what for change in pending if change.what not in outcomes]
    undone = (*(f"{one.change.what}: {one.error}" for one in settled if one.error), *unseen, *after.problems)
    return Struck(settled, after, tuple(dict.fromkeys(undone)))


def _look_again(client: AdminClient, before: Sight) -> Sight:
    """Who could write policies may have written a new one."""
    try:
        return look(client, judge(client, before))
    except LesseeError as exc:
        seen = look(client, before)
        return replace(seen, problems=(*seen.problems, f"policies: {exc}"))


def _obey(
    action: Callable[[Change], object], changes: list[Change], file: RecordFile, client: AdminClient
) -> Iterable[Outcome]:
    def tell_done(change: Change) -> None:
        file.write("done", step=change.step, what=change.what)

    def obey(change: Change) -> None:
        action(change)
        tell_done(change)

    # A role cannot be rotated while its connection's root credential is.
    many = all(change.step in _LISTED for change in changes)
    answers = side_by_side(obey, changes, threads=THREADS if many else 1)
    failed = {change.what: change for change, answer in zip(changes, answers, strict=True) if answer}
    there = _still_there(client, failed.values()) if many else set(failed)
    for change, answer in zip(changes, answers, strict=True):
        if not isinstance(answer, LesseeError):
            yield Outcome(change)
        elif change.what in there:
            file.write("failed", step=change.step, what=change.what, why=str(answer))
            yield Outcome(change, str(answer))
        else:
            tell_done(change)
            yield Outcome(change)


def _still_there(client: AdminClient, changes: Iterable[Change]) -> set[str]:
    """What of these is listed yet: a token ends with its parent, which may be just before it is asked for."""
    left = list(changes)
    for pause in _PAUSES:
        if not left:
            break
        time.sleep(pause)
        places = dict.fromkeys(_ACCESSORS if one.step is Step.TOKENS else _secret_ids(one) for one in left)
        try:
            listed = {name for place in places for name in client.list(place)}
        except LesseeError:
            break
        left = [one for one in left if not listed.isdisjoint(one.body.values())]
    return {one.what for one in left}


def _secret_ids(change: Change) -> str:
    return change.path.removesuffix("-accessor/destroy")


def _settled(outcome: Outcome, left: set[str], after: Sight) -> Outcome:
    """Whether it was done is seen by looking; of a rotation only its answer tells."""
    change = outcome.change
    if change.step in _ROTATED:
        return outcome
    if change.what not in left:
        # What could not be looked at again may be there still.
        return outcome if after.problems else Outcome(change)
    if change.step is Step.LEASES:
        prefix = change.about
        count = after.leases.get(prefix)
        left_over = "some may be" if count is None else f"{count} are"
        todo = f"is the system behind it well? Vault tries again by itself; `bao lease revoke -force -prefix {prefix}`"
        said = f" ({outcome.error})" if outcome.error else ""
        return Outcome(change, f"{left_over} left{said}; {todo} lets go of them without it")
    return Outcome(change, outcome.error or "it is still there")


def _wait_for_leases(client: AdminClient, prefixes: list[str]) -> None:
    """Vault revokes them in its own time."""
    end = time.monotonic() + _LONGEST
    for prefix in prefixes:
        fewest, since = None, time.monotonic()
        while time.monotonic() < min(end, since + _PATIENCE):
            try:
                count = engine_state.leases(client, prefix)
            except LesseeError:
                break
            if not count:
                break
            if fewest is None or count < fewest:
                fewest, since = count, time.monotonic()
            time.sleep(_PAUSE)
