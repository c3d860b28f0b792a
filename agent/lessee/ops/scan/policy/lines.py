"""Finds the lines of a text that were not in other texts, so that each version of a file costs what changed in it."""

from collections.abc import Iterator

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.scan.policy.search import Hit, SearchResult

MOST = 300_000
"""Lines that are remembered, of some 20 MiB."""


class NewLines(ImmutableStruct, frozen=True):
    """The new lines of a text, each after the line before it: a value may be on the line after its name."""

    hidden = ("text",)

    text: str
    numbers: tuple[int, ...]
    """For each line of `text` its number in the whole text, from 1."""
    new: frozenset[int]
    """The numbers of the new ones."""

    def located(self, result: SearchResult) -> Iterator[Hit]:
        """The hits of a search of `text` that have a new line, with their lines in the whole text."""
        for hit in result.hits:
            first = hit.line - 1
            if not self.new.isdisjoint(self.numbers[first : first + hit.value.count("\n") + 1]):
                yield replace(hit, line=self.numbers[first])


class SeenLines:
    """Remembers lines by their hashes. When they are too many it forgets all: the next texts only take longer."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._hashes: set[int] = set()

    def add(self, text: str) -> None:
        """Remember the lines of a text."""
        if len(self._hashes) > self._most:
            self._hashes.clear()
        self._hashes.update(map(hash, text.split("\n")))

    def new(self, text: str) -> NewLines:
        """The lines of a text that were not seen. A text with a private key is whole: its first line is any key's."""
        lines = text.split("\n")
        new = frozenset(number for number, line in enumerate(lines, 1) if hash(line) not in self._hashes)
        if "PRIVATE KEY" in text:
            return NewLines(text, tuple(range(1, len(lines) + 1)), new)
        numbers = tuple(sorted(new | {number - 1 for number in new if number > 1}))
        return NewLines("\n".join(lines[number - 1] for number in numbers), numbers, new)
