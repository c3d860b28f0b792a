"""The results of checks."""

from collections.abc import Iterable
from enum import StrEnum

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level

_MAX_LISTED = 5


class Skip(StrEnum):
    """Why a check has no result."""

    NOT_CONFIGURED = "not_configured"
    """Nothing names what it would check."""
    IMPOSSIBLE = "not_possible"
    """It could not run, such as without access to Vault."""
    INCOMPLETE = "incomplete"
    """It found no failure, but could not check everything."""
    CONSEQUENCE = "consequence"
    """It failed only because of what the check of another component reports."""


class Finding(ImmutableStruct, frozen=True):
    """One of several causes of a failure.

    `subjects`: what it concerns. A key "" means the whole secret. A failure of another component that `explains` one
    of them is its cause.
    """

    text: str
    subjects: frozenset[SecretField] = frozenset()


class Result(ImmutableStruct, frozen=True):
    """The result of one check; its text holds no value. `passed` None: the check was skipped, and `text` says why."""

    component: str
    """Such as vault, database, api_keys, storage, mcp_cache, mcp_auth, frontend, or an app's name."""
    check: str
    """The check's stable name, such as `postgres-login`."""
    level: Level
    passed: bool | None
    text: str
    todo: str = ""
    """What to do after a failure."""
    skip: Skip | None = None
    """Why it was skipped."""
    explains: frozenset[SecretField] = frozenset()
    """Of a failure: what cannot work anywhere because of it. A key "" means the whole secret."""
    summary: str = ""
    """What the text says before the findings."""
    findings: tuple[Finding, ...] = ()


class Reporter(ImmutableStruct, frozen=True):
    """Creates the results of one component."""

    component: str

    def passed(self, check: str, text: str) -> Result:
        return Result(self.component, check, Level.INFO, passed=True, text=text)

    def critical(self, check: str, text: str, todo: str, *, explains: Iterable[SecretField] = ()) -> Result:
        return Result(
            self.component, check, Level.CRITICAL, passed=False, text=text, todo=todo, explains=frozenset(explains)
        )

    def warning(self, check: str, text: str, todo: str) -> Result:
        return Result(self.component, check, Level.WARNING, passed=False, text=text, todo=todo)

    def skipped(self, check: str, reason: str, skip: Skip = Skip.IMPOSSIBLE) -> Result:
        return Result(self.component, check, Level.INFO, passed=None, text=reason, skip=skip)

    def found(
        self,
        check: str,
        level: Level,
        summary: str,
        findings: Iterable[Finding],
        todo: str,
        *,
        explains: Iterable[SecretField] = (),
    ) -> Result:
        """A failure with its causes, each of which may be the consequence of another component's failure."""
        causes = tuple(sorted(findings, key=lambda finding: finding.text))
        return Result(
            self.component,
            check,
            level,
            passed=False,
            text=summary + listed(finding.text for finding in causes),
            todo=todo,
            explains=frozenset(explains),
            summary=summary,
            findings=causes,
        )


def listed(items: Iterable[object]) -> str:
    """The items in one line, sorted; of many only the first, and the number of the others."""
    texts = sorted(map(str, items))
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more
