"""Attributes failures to their causes: what fails only because of another component's failure is not a second one."""

from collections.abc import Iterable, Iterator

from lessee.core.immutable import replace
from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level
from lessee.ops.validate.policy.results import Finding, Result, Skip, listed

_SEVERITY = {Level.INFO: 0, Level.WARNING: 1, Level.CRITICAL: 2}


def attribute(results: Iterable[Result]) -> list[Result]:
    """The results, without findings that another component's failure of at least the same level explains."""
    several = list(results)
    causes: dict[SecretField, list[Result]] = {}
    for result in several:
        if result.passed is False:
            for subject in result.explains:
                causes.setdefault(subject, []).append(result)
    parts: dict[str, list[Result]] = {}
    for subject, explaining in causes.items():
        parts.setdefault(subject.path, []).extend(explaining)
    return [_attributed(result, causes, parts) for result in several]


def app_subject(app: str) -> SecretField:
    """The subject of a finding that concerns an app, and no secret."""
    return SecretField(f"apps.{app}", "")


def _attributed(result: Result, causes: dict[SecretField, list[Result]], parts: dict[str, list[Result]]) -> Result:
    def explained(finding: Finding) -> Iterator[Result]:
        for subject in finding.subjects:
            # What concerns a whole secret concerns each part of it, and the other way around.
            whole = causes.get(SecretField(subject.path, ""), ())
            for cause in (*whole, *(causes.get(subject, ()) if subject.key else parts.get(subject.path, ()))):
                if cause.component != result.component and _SEVERITY[cause.level] >= _SEVERITY[result.level]:
                    yield cause

    found = {finding: list(explained(finding)) for finding in result.findings}
    left = tuple(finding for finding, why in found.items() if not why)
    if len(left) == len(result.findings):
        return result
    if left:
        return replace(result, text=result.summary + listed(finding.text for finding in left), findings=left)
    origins = listed({f"{cause.component} ({cause.check})" for why in found.values() for cause in why})
    text = f"follows from {origins}: {result.text}"
    return Result(result.component, result.check, Level.INFO, passed=None, text=text, skip=Skip.CONSEQUENCE)
