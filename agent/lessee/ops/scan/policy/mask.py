"""Hides the values that were found in names of files and keys, where an author may have put them."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from lessee.core.immutable import replace
from lessee.ops.scan.policy.findings import Finding


class Mask:
    """Hides values in names. What it costs to clean a name depends on the name, not on the number of values."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = frozenset(filter(is_distinctive, values))
        lengths: dict[str, set[int]] = {}
        for value in self._values:
            lengths.setdefault(value[:_SHORTEST], set()).add(len(value))
        self._lengths = {start: sorted(found) for start, found in lengths.items()}
        """The lengths of the values by their first characters."""
        self._cleaned: dict[str, str] = {}

    def clean_finding(self, finding: Finding) -> Finding:
        """The finding without any value in its name or in its file's name."""
        file, name = self.clean(finding.file), self.clean(finding.name)
        return finding if (file, name) == (finding.file, finding.name) else replace(finding, file=file, name=name)

    def clean(self, text: str) -> str:
        """The text with `[value]` for each value; values that overlap get one."""
        if text not in self._cleaned:
            self._cleaned[text] = self._hide(text)
        return self._cleaned[text]

    def _hide(self, text: str) -> str:
        parts: list[str] = []
        end = 0
        for start, stop in self._places(text):
            if start >= end:
                parts += (text[end:start], _HIDDEN)
            end = max(end, stop)
        if not parts:
            return text
        hidden = "".join([*parts, text[end:]])
        # The mask and what is next to it may be a value too.
        return _HIDDEN if any(True for _ in self._places(hidden)) else hidden

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where values are: at each start the longest."""
        for start in range(len(text) - _SHORTEST + 1):
            if lengths := self._lengths.get(text[start : start + _SHORTEST]):
                for length in reversed(lengths[: bisect_right(lengths, len(text) - start)]):
                    if text[start : start + length] in self._values:
                        yield start, start + length
                        break


def is_distinctive(value: str) -> bool:
    """Whether the value is no word that names of files contain by chance."""
    return len(value) >= _SHORTEST and not _WORD.fullmatch(value)


_SHORTEST = 6
_WORD = re.compile(r"[A-Za-z_./-]{1,12}")
_HIDDEN = "[value]"
