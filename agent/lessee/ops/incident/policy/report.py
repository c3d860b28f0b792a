"""Prints what has access to the environment, what is planned, what is done, what failed, and the next steps."""

from collections import Counter
from collections.abc import Iterable, Iterator

from lessee.core.immutable import ImmutableStruct
from lessee.ops.incident.policy.findings import AccessKind, Findings
from lessee.ops.incident.policy.manual_steps import ManualStep
from lessee.ops.incident.policy.plan import Change, Step
from lessee.ops.rotate.policy.report import printable

_MAX_LISTED = 10
_HEADINGS = {
    Step.SECRET_IDS: ("secret_ids to destroy", "secret_ids destroyed"),
    Step.TOKENS: ("tokens to revoke", "tokens revoked"),
    Step.LEASES: ("leases to revoke, below", "leases revoked, below"),
    Step.VAULT_ROTATIONS: ("to rotate in Vault", "rotated in Vault"),
    Step.TARGET_ROTATIONS: (
        "to rotate in their systems; old credentials are revoked immediately, even while apps use them",
        "rotated in their systems; old credentials revoked",
    ),
}
_ACCESS = {
    AccessKind.GRANTED: "",
    AccessKind.TEMPLATED: " (templated: may have access)",
    AccessKind.UNREADABLE: " (cannot be parsed: may have access)",
}


class ChangeResult(ImmutableStruct, frozen=True):
    """A change that was tried; `error` is empty after a success."""

    change: Change
    error: str = ""


def access_report(findings: Findings) -> str:
    """The policies that have access, for the operator to check before anything changes."""
    exposure = findings.exposure
    scope = exposure.environment if exposure.path is None else f"{exposure.environment}, only {exposure.path}"
    count = f"{len(findings.affected_policies)} of {len(findings.policies)} policies have access, for example at"
    lines = [f"EMERGENCY: {scope}", "=" * 60, "", count]
    lines += [
        f"  {printable(policy.name)}: {printable(policy.path) or 'unknown path'}{_ACCESS[policy.access]}"
        for policy in findings.affected_policies
    ]
    lines += [f"  cannot be read: {printable(problem)}" for problem in findings.problems]
    return _text(lines)


def plan_report(changes: Iterable[Change], findings: Findings, *, complete: bool) -> str:
    """The planned changes by step; `complete`: all of them, however many."""
    changes = tuple(changes)
    lines = ["", "TO DO"]
    for step in Step:
        some = [change for change in changes if change.step is step]
        lines.append(f"  {_HEADINGS[step][0]}: {_count(step, some, findings)}")
        lines += [f"    {printable(change.name)}" for change in (some if complete else some[:_MAX_LISTED])]
        if not complete and len(some) > _MAX_LISTED:
            lines.append(f"    … and {len(some) - _MAX_LISTED} more")
    return _text(lines)


def done_report(results: Iterable[ChangeResult], before: Findings) -> str:
    """The changes that succeeded."""
    results = tuple(results)
    lines = ["", "DONE"]
    for step in Step:
        some = [result.change for result in results if result.change.step is step and not result.error]
        lines.append(f"  {_HEADINGS[step][1]}: {_count(step, some, before)}")
        if step in {Step.VAULT_ROTATIONS, Step.TARGET_ROTATIONS, Step.LEASES}:
            lines += [f"    {printable(change.name)}" for change in some]
        else:
            lines += [f"    {subject}: {count}" for subject, count in _by_subject(some)]
    return _text(lines)


def failure_report(problems: Iterable[str]) -> str:
    """What could not be done; empty where everything was done."""
    lines = [f"  {printable(problem)}" for problem in problems]
    return _text(["", "NOT DONE", *lines, "  correct this, and run the same command again"]) if lines else ""


def manual_report(steps: Iterable[ManualStep]) -> str:
    """The manual steps."""
    lines = ["", "MANUAL STEPS"]
    for number, step in enumerate(steps, 1):
        lines += [f"  {number}. {step.title}", *(f"     {line}" for line in step.lines)]
    return _text(lines if len(lines) > 2 else [*lines, "  none"])  # noqa: PLR2004  # The heading's.


def next_steps(findings: Findings, unnoted: str = "") -> str:
    """How the environment gets access again. `unnoted`: why `--follow-up` will not know of this emergency."""
    environment = findings.exposure.environment
    return _text(
        [
            "",
            "NEXT",
            "  1. change the secrets under MANUAL STEPS, and write them to Vault",
            f"  2. create and deliver secret_ids: `lessee setup --only environment={environment} --output DIR`",
            "  3. agents and `lessee rotate --watch` then log in by themselves; scheduled rotations wait until then;",
            "     restart apps that read their secrets only at their start",
            f"  4. `lessee emergency --environment {environment} --dry-run` lists what still has access",
            f"  5. `lessee emergency --environment {environment} --follow-up` lists which logins there are again",
            *((f"     it does not know of this emergency: {printable(unnoted)}",) if unnoted else ()),
        ]
    )


def _count(step: Step, changes: list[Change], findings: Findings) -> str:
    if step is not Step.LEASES:
        return str(len(changes))
    counts = [findings.leases.get(change.subject) for change in changes]
    known = sum(count for count in counts if count is not None)
    return f"{known}" if None not in counts else f"{known}, and more that cannot be counted"


def _by_subject(changes: list[Change]) -> Iterator[tuple[str, int]]:
    """The number of secret_ids by role, and of tokens by display name."""
    for subject, count in Counter(change.subject for change in changes).most_common():
        yield printable(subject), count


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
