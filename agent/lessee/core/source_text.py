"""Text of a file that is parsed, with the lines its positions stand in."""

import re
from bisect import bisect_left

from lessee.core.immutable import ImmutableStruct


class Text(ImmutableStruct, frozen=True):
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
