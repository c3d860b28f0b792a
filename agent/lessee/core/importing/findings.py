"""What an import has to tell: what is not carried over, and what is otherwise now."""

import re
from bisect import bisect_left

from lessee.core.record import Record

MARK = "TODO lessee import"
"""What a person looks for in what was written."""


class Text(Record, frozen=True):
    """A text of a file that is imported, and the line in which it begins."""

    hidden = ("value",)

    value: str
    source: str
    line: int
    several: bool = True
    """Whether its lines are lines of the file, which those of a quoted string are not."""

    def where(self, line: int = 1) -> str:
        """The place of one of its lines, from 1."""
        return f"{self.source}:{self.line + line - 1 if self.several else self.line}"


class Lines:
    """Tells the line of a place in a text, from 1, without going through it each time."""

    def __init__(self, text: str) -> None:
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def at(self, index: int) -> int:
        return bisect_left(self._ends, index) + 1


class Finding(Record, frozen=True):
    """One thing to tell, at a place of the imported file; `lost` is what is not carried over."""

    where: str
    what: str
    todo: str = ""
    lost: bool = True

    def __str__(self) -> str:
        told = self.what if self.lost else f"note: {self.what}"
        return f"{self.where}: {told}; {self.todo}" if self.todo else f"{self.where}: {told}"


class Report:
    """Collects findings. A `notes` list gets the text of what is lost too, for a comment at the place."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._said: set[str] = set()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order of their places."""
        return tuple(sorted(self._found, key=_place))

    @property
    def lost(self) -> bool:
        """Whether anything is."""
        return any(finding.lost for finding in self._found)

    def lose(self, where: str, what: str, todo: str = "", *, notes: list[str] | None = None) -> None:
        """What is not carried over."""
        self._found[Finding(where, what, todo)] = None
        self._said.add(what)
        if notes is not None:
            notes.append(f"{MARK}: {what}; {todo}" if todo else f"{MARK}: {what}")

    def remark(self, where: str, what: str, todo: str = "") -> None:
        """What is otherwise now, once for all places where it is the same."""
        if what not in self._said:
            self._said.add(what)
            self._found[Finding(where, what, todo, lost=False)] = None


def _place(finding: Finding) -> tuple[str, int]:
    source, _, line = finding.where.rpartition(":")
    return (source, int(line)) if line.isdigit() else (finding.where, 0)
