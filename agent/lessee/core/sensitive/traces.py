"""Values that stand in a file where they have no business: the environment's own, and keys of well-known makes."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.encodings import encoded
from lessee.core.sensitive.names import Place

SHORTEST = 8
"""Characters. What is shorter stands in a bundle by chance."""


class Trace(ImmutableStruct, frozen=True, order=True):
    """A value that stands where it has no business: at which byte of a content, where it belongs, how it is written."""

    at: int
    place: Place
    encoding: str


class Traces:
    """Knows values by the places where they belong, and finds them elsewhere, in every form they are likely to have."""

    def __init__(self, values: Iterable[tuple[Place, str]]) -> None:
        self.count = 0
        """How many values are looked for."""
        self.short = 0
        """How many are not, since they are shorter than `SHORTEST`."""
        self._forms: dict[bytes, tuple[str, set[Place]]] = {}
        for place, value in values:
            if len(value.strip()) < SHORTEST:
                self.short += 1
                continue
            self.count += 1
            for encoding, form in encoded(value.strip()):
                self._forms.setdefault(form, (encoding, set()))[1].add(place)

    @property
    def longest(self) -> int:
        """Bytes of the longest form: so many may lie across the cut where a content is looked at in parts."""
        return max(map(len, self._forms), default=0)

    def find(self, content: bytes) -> frozenset[Place]:
        """Where the values belong that stand in the content."""
        return frozenset(trace.place for trace in self.search(content))

    def search(self, content: bytes) -> Iterator[Trace]:
        """The first place of each form. However many values there are, a megabyte takes some 5 ms, of short ones 40."""
        likely: set[bytes] = set()
        for begin in range(0, _WORD, self._step):
            end = begin + (len(content) - begin) // _WORD * _WORD
            if end > begin:
                # A set takes eight bytes as one number at the speed of C; a loop over values would read it for each.
                words = memoryview(content)[begin:end].cast("Q")
                if not self._words.isdisjoint(words):
                    likely.update(*(self._by_word[word] for word in self._words.intersection(words)))
        for form in sorted(likely):
            if (at := content.find(form)) >= 0:
                encoding, places = self._forms[form]
                yield from (Trace(at, place, encoding) for place in sorted(places))

    @cached_property
    def _step(self) -> int:
        """Bytes from one look at a content to the next, so that one of them falls wholly into the shortest form."""
        room = min(map(len, self._forms), default=2 * _WORD) - _WORD + 1
        return next(step for step in (8, 4, 2, 1) if step <= room)

    @cached_property
    def _by_word(self) -> dict[int, list[bytes]]:
        """Forms by those eight bytes of theirs of which a look meets one."""
        found: dict[int, list[bytes]] = {}
        for form in self._forms:
            for begin in range(self._step):
                found.setdefault(memoryview(form[begin : begin + _WORD]).cast("Q")[0], []).append(form)
        return found

    @cached_property
    def _words(self) -> frozenset[int]:
        return frozenset(self._by_word)


def makes(content: bytes) -> Iterator[str]:
    """The kinds of well-known keys that stand in it."""
    for name, (marks, pattern) in _MAKES.items():
        # Looking for a few letters is many times faster.
        if any(mark in content for mark in marks) and pattern.search(content):
            yield name


def public_variables(text: str, prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The variables of a dotenv file that a build tool hands to every visitor, each with all that is said of it."""
    found = list(_VARIABLE.finditer(text))
    for one, after in pairwise([*found, None]):
        assert one is not None
        if one[1].startswith(tuple(prefixes)):
            yield one[1], text[one.end() : after.start() if after is not None else None]


_WORD = 8  # The size of a "Q".
_VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=", re.MULTILINE)
_MAKES = {
    "an API key (sk-…)": ((b"sk-",), re.compile(rb"\bsk-(?:[a-z0-9]+-)*[A-Za-z0-9_-]{20,}")),
    "an AWS access key (AKIA…)": ((b"AKIA", b"ASIA"), re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    "a GitHub token (ghp_…)": (
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,})"),
    ),
    "a GitLab token (glpat-…)": ((b"glpat-",), re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}")),
    "a Slack token (xox…)": ((b"xox",), re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    "a Hugging Face token (hf_…)": ((b"hf_",), re.compile(rb"\bhf_[A-Za-z0-9]{30,}")),
    "a Vault token (hvs.…)": ((b"hvs.", b"hvb.", b"hvr."), re.compile(rb"\bhv[sbr]\.[A-Za-z0-9_-]{24,}")),
    "a private key": ((b"PRIVATE KEY",), re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")),
}
