"""What a check of the environment found."""

from collections.abc import Iterable

from lessee.core.immutable import Record
from lessee.core.severity import Level


class Result(Record, frozen=True):
    """One check's outcome, in words without a value. `passed` None: it could not be looked at, and `text` says why."""

    component: str
    """Such as vault, database, api_keys, storage, mcp_cache, mcp_auth, frontend, or an app's name."""
    check: str
    """The check's lasting name, such as `postgres-login`."""
    level: Level
    passed: bool | None
    text: str
    todo: str = ""
    """What to do where it failed."""


class Teller(Record, frozen=True):
    """Makes the results of one component."""

    component: str

    def passed(self, check: str, text: str) -> Result:
        return Result(self.component, check, Level.INFO, passed=True, text=text)

    def critical(self, check: str, text: str, todo: str) -> Result:
        return Result(self.component, check, Level.CRITICAL, passed=False, text=text, todo=todo)

    def warning(self, check: str, text: str, todo: str) -> Result:
        return Result(self.component, check, Level.WARNING, passed=False, text=text, todo=todo)

    def unlooked(self, check: str, why: str) -> Result:
        return Result(self.component, check, Level.INFO, passed=None, text=why)


def several(found: Iterable[object]) -> str:
    """In one line, in order; of many the first few, and how many more there are."""
    texts = sorted(map(str, found))
    more = f" and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return ", ".join(texts[:_FEW]) + more


_FEW = 5
