"""Applies the fixes of all findings until none is left: a fix can uncover another finding."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.findings import Finding
from lessee.ops.lint.policy.fixes.application import applied
from lessee.ops.lint.policy.fixes.model import Data, merged
from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError

_ROUNDS = 12
Texts = Mapping[str, str]
"""The new texts of files."""


class Session(ImmutableStruct, frozen=True):
    """What the fixes have changed, and what they left."""

    hidden = ("texts",)

    texts: Texts
    fixed: tuple[Finding, ...]
    refused: Mapping[str, str]
    """Why a fix was not applied, by the finding's message."""
    remaining: tuple[Finding, ...]
    """The findings in the new texts."""


def fix_all(check: Callable[[Texts], Sequence[Finding]], load: Callable[[str], str]) -> Session:
    """Apply all fixes. `check` returns the findings with other texts of some files; `load` the text of a file."""
    texts: dict[str, str] = {}
    fixed: dict[str, Finding] = {}
    refused: dict[str, str] = {}
    findings = check(texts)
    for _ in range(_ROUNDS):
        before = dict(texts)
        for finding in findings:
            if finding.fix is None or finding.message in refused:
                continue
            if finding.message in fixed:
                refused[finding.message] = "it has no effect"
                continue
            try:
                new = applied(finding.fix, lambda file: texts[file] if file in texts else load(file))
            except NotEditableError as exc:
                refused[finding.message] = exc.what
                continue
            texts.update(new)
            fixed[finding.message] = finding
        if texts == before:
            break
        findings = check(texts)
    return Session(texts, tuple(fixed.values()), refused, tuple(findings))


def lines_to_add(check: Callable[[Mapping[str, Data]], Iterable[Finding]]) -> Mapping[str, Data]:
    """The document that another Compose file must have. `check` returns the findings with such a file."""
    document: Mapping[str, Data] = {}
    for _ in range(_ROUNDS):
        before = document
        for finding in check(before):
            document = merged(document, finding.lines)
        if document == before:
            break
    return document
