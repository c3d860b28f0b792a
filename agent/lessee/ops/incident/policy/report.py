"""What a person reads before and after: what reaches the environment, what is done, what is not, what is next."""

from collections import Counter
from collections.abc import Iterable, Iterator

from lessee.core.immutable import Record
from lessee.ops.incident.policy.findings import Sight, Way
from lessee.ops.incident.policy.manual_steps import Task, shown
from lessee.ops.incident.policy.plan import Change, Step

_FEW = 10
_WORDS = {
    Step.LOGINS: ("secret_ids to destroy", "secret_ids destroyed"),
    Step.TOKENS: ("tokens to revoke", "tokens revoked"),
    Step.LEASES: ("leases to revoke, below", "leases revoked, below"),
    Step.ROTATION: ("to rotate in Vault", "rotated in Vault"),
    Step.TARGETS: (
        "to rotate in their systems; the old ones end at once, whoever still uses them",
        "rotated in their systems; the old ones have ended",
    ),
}
_HOW = {Way.GRANTS: "", Way.TEMPLATED: " (templated: taken to)", Way.UNREADABLE: " (cannot be read: taken to)"}


class Outcome(Record, frozen=True):
    """A change that was tried; `error` is empty where it was done."""

    change: Change
    error: str = ""


def found(sight: Sight) -> str:
    """Who reaches what, for the operator to judge before anything is changed."""
    exposed = sight.exposure
    what = exposed.environment if exposed.path is None else f"{exposed.environment}, {exposed.path} alone"
    reached = f"reached by {len(sight.struck)} of {len(sight.policies)} policies, at such paths as these"
    lines = [f"EMERGENCY: {what}", "=" * 60, "", reached]
    lines += [f"  {shown(one.policy)}: {shown(one.path) or 'somewhere'}{_HOW[one.way]}" for one in sight.struck]
    lines += [f"  cannot be looked at: {shown(problem)}" for problem in sight.problems]
    return _text(lines)


def planned(changes: Iterable[Change], sight: Sight, *, all_of_it: bool) -> str:
    """What is to be done, by step; `all_of_it`: one by one, however many."""
    changes = tuple(changes)
    lines = ["", "TO DO"]
    for step in Step:
        some = [change for change in changes if change.step is step]
        lines.append(f"  {_WORDS[step][0]}: {_count(step, some, sight)}")
        lines += [f"    {shown(change.what)}" for change in (some if all_of_it else some[:_FEW])]
        if not all_of_it and len(some) > _FEW:
            lines.append(f"    … and {len(some) - _FEW} more")
    return _text(lines)


def done(outcomes: Iterable[Outcome], before: Sight) -> str:
    """What was done, and what was not."""
    outcomes = tuple(outcomes)
    lines = ["", "DONE"]
    for step in Step:
        some = [one.change for one in outcomes if one.change.step is step and not one.error]
        lines.append(f"  {_WORDS[step][1]}: {_count(step, some, before)}")
        if step in {Step.ROTATION, Step.TARGETS, Step.LEASES}:
            lines += [f"    {shown(change.what)}" for change in some]
        else:
            lines += [f"    {holder}: {count}" for holder, count in _by_holder(some)]
    return _text(lines)


def undone(problems: Iterable[str]) -> str:
    """What could not be done. Empty where all was."""
    lines = [f"  {shown(problem)}" for problem in problems]
    return _text(["", "NOT DONE", *lines, "  mend that, and run the same command again"]) if lines else ""


def left(tasks: Iterable[Task]) -> str:
    """What is left to people."""
    lines = ["", "BY HAND"]
    for number, task in enumerate(tasks, 1):
        lines += [f"  {number}. {task.title}", *(f"     {line}" for line in task.lines)]
    return _text(lines if len(lines) > 2 else [*lines, "  nothing"])  # noqa: PLR2004  # The heading's.


def following(sight: Sight) -> str:
    """How the environment comes back to life."""
    environment = sight.exposure.environment
    return _text(
        [
            "",
            "NEXT",
            "  1. change the secrets under BY HAND, and write them to Vault",
            f"  2. make new secret_ids: `lessee setup --only environment={environment} --output NEW-DIR`; deliver them",
            "  3. agents, and `lessee rotate --watch`, log in by themselves: until then nothing is rotated on time;",
            "     restart apps that read their secrets only at their start",
            f"  4. `lessee emergency --environment {environment} --dry-run` shows whether anyone is left",
        ]
    )


def _count(step: Step, changes: list[Change], sight: Sight) -> str:
    if step is not Step.LEASES:
        return str(len(changes))
    counts = [sight.leases.get(change.about) for change in changes]
    known = sum(count for count in counts if count is not None)
    return f"{known}" if None not in counts else f"{known} and more that cannot be counted"


def _by_holder(changes: list[Change]) -> Iterator[tuple[str, int]]:
    """Secret_ids by their role, tokens by their name."""
    for holder, count in Counter(change.about for change in changes).most_common():
        yield shown(holder), count


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
