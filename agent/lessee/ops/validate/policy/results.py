"""The results of checks."""

from collections.abc import Iterable

from lessee.core.immutable import ImmutableStruct
from lessee.core.severity import Level

_MAX_LISTED = 5


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


class Reporter(ImmutableStruct, frozen=True):
    """Creates the results of one component."""

    component: str

    def passed(self, check: str, text: str) -> Result:
        return Result(self.component, check, Level.INFO, passed=True, text=text)

    def critical(self, check: str, text: str, todo: str) -> Result:
        return Result(self.component, check, Level.CRITICAL, passed=False, text=text, todo=todo)

    def warning(self, check: str, text: str, todo: str) -> Result:
        return Result(self.component, check, Level.WARNING, passed=False, text=text, todo=todo)

    def skipped(self, check: str, reason: str) -> Result:
        return Result(self.component, check, Level.INFO, passed=None, text=reason)


def listed(items: Iterable[object]) -> str:
    """The items in one line, sorted; of many only the first, and the number of the others."""
    texts = sorted(map(str, items))
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more
