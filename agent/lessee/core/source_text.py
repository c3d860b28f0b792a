"""Text from a parsed file, and the line numbers of positions in it."""

import re
from bisect import bisect_left

from lessee.core.immutable import ImmutableStruct


class Text(ImmutableStruct, frozen=True):
    """A text from an imported file, and the line on which it begins."""

    hidden = ("value",)

    value: str
    source: str
    line: int
    is_multiline: bool = True
    """Whether its lines are lines of the file. The lines of a quoted string are not: its line breaks are escapes."""

    def where(self, line: int = 1) -> str:
        """The file and line of one of its lines; `line` counts from 1."""
        return f"{self.source}:{self.line + line - 1 if self.is_multiline else self.line}"


class Lines:
    """Finds the line number of a position in a text, from 1, by binary search."""

    def __init__(self, text: str) -> None:
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def at(self, index: int) -> int:
        return bisect_left(self._ends, index) + 1
