"""Values that stand in a file where they have no business: the environment's own, and keys of well-known makes."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise

from lessee.core.redaction import forms
from lessee.core.validation.fields import Place

SHORTEST = 8
"""Characters. What is shorter stands in a bundle by chance."""


class Traces:
    """Knows values by the places where they belong, and finds them elsewhere, in every form they are likely to have."""

    def __init__(self, values: Iterable[tuple[Place, str]]) -> None:
        self._places: dict[bytes, set[Place]] = {}
        for place, value in values:
            if len(value.strip()) >= SHORTEST:
                for form in forms(value.strip()):
                    self._places.setdefault(form.encode(errors="surrogatepass"), set()).add(place)

    def find(self, content: bytes) -> frozenset[Place]:
        """Where the values belong that stand in the content. However many there are, a megabyte takes 50 ms."""
        heads = set(self._by_head)
        found: set[Place] = set()
        for offset in range(_HEAD):
            end = offset + (len(content) - offset) // _HEAD * _HEAD
            # A set takes eight bytes as one number at the speed of C; a loop over values would read each file for each.
            for head in heads.intersection(memoryview(content)[offset:end].cast("Q")) if end > offset else ():
                heads.remove(head)
                found |= {place for form in self._by_head[head] if form in content for place in self._places[form]}
        return frozenset(found)

    def of(self, value: str) -> frozenset[Place]:
        """Where a whole value belongs, whatever form it has."""
        return frozenset(self._places.get(value.strip().encode(errors="surrogatepass"), ()))

    @cached_property
    def _by_head(self) -> dict[int, list[bytes]]:
        heads: dict[int, list[bytes]] = {}
        for form in self._places:
            heads.setdefault(memoryview(form[:_HEAD]).cast("Q")[0], []).append(form)
        return heads


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


_HEAD = 8  # The size of a "Q".
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
