"""Leaks: values of an environment's secrets, and keys in well-known formats, in a file that must not contain them."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.encodings import encoded
from lessee.core.sensitive.key_formats import find_keys
from lessee.core.sensitive.names import SecretField

SHORTEST = 8
"""Characters. A shorter value occurs in a bundle by chance."""


class Leak(ImmutableStruct, frozen=True, order=True):
    """A value of a secret in a content: the byte offset, the field that the value is from, and its encoding."""

    offset: int
    field: SecretField
    encoding: str


class LeakDetector:
    """Finds the values of secrets in a content, in every encoding that they are likely to have."""

    def __init__(self, values: Iterable[tuple[SecretField, str]]) -> None:
        self.count = 0
        """The number of values that it looks for."""
        self.short = 0
        """The number of values that it ignores because they are shorter than `SHORTEST`."""
        self._forms: dict[bytes, tuple[str, set[SecretField]]] = {}
        for place, value in values:
            if len(value.strip()) < SHORTEST:
                self.short += 1
                continue
            self.count += 1
            for encoding, form in encoded(value.strip()):
                self._forms.setdefault(form, (encoding, set()))[1].add(place)

    @property
    def longest(self) -> int:
        """Bytes of the longest encoding: parts of a content must overlap by so many."""
        return max(map(len, self._forms), default=0)

    def find(self, content: bytes) -> frozenset[SecretField]:
        """The fields whose values the content contains."""
        return frozenset(leak.field for leak in self.search(content))

    def search(self, content: bytes) -> Iterator[Leak]:
        """The first occurrence of each form. A megabyte takes 5 ms for any number of values, 40 ms for short ones."""
        likely: set[bytes] = set()
        for begin in range(0, _WORD, self._step):
            end = begin + (len(content) - begin) // _WORD * _WORD
            if end > begin:
                # A set compares eight bytes as one number at the speed of C; a loop over values would be slow.
                words = memoryview(content)[begin:end].cast("Q")
                if not self._words.isdisjoint(words):
                    likely.update(*(self._by_word[word] for word in self._words.intersection(words)))
        for form in sorted(likely):
            if (at := content.find(form)) >= 0:
                encoding, places = self._forms[form]
                yield from (Leak(at, place, encoding) for place in sorted(places))

    @cached_property
    def _step(self) -> int:
        """Bytes between two samples of a content, so that at least one sample is within even the shortest form."""
        room = min(map(len, self._forms), default=2 * _WORD) - _WORD + 1
        return next(step for step in (8, 4, 2, 1) if step <= room)

    @cached_property
    def _by_word(self) -> dict[int, list[bytes]]:
        """Forms by the eight-byte words in them, one of which a sample must hit."""
        found: dict[int, list[bytes]] = {}
        for form in self._forms:
            for begin in range(self._step):
                found.setdefault(memoryview(form[begin : begin + _WORD]).cast("Q")[0], []).append(form)
        return found

    @cached_property
    def _words(self) -> frozenset[int]:
        return frozenset(self._by_word)


def known_key_formats(content: bytes) -> Iterator[str]:
    """The well-known key formats that occur in the content, without those that providers make for web pages."""
    found = (form.name for form, _, _ in find_keys(content.decode("latin-1")) if not form.for_visitors)
    yield from dict.fromkeys(found)


def find_public_variables(text: str, prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The variables of a dotenv file that a build tool puts into the bundle, each with the text of its value."""
    found = list(_VARIABLE.finditer(text))
    for variable, following in pairwise([*found, None]):
        assert variable is not None
        if variable[1].startswith(tuple(prefixes)):
            yield variable[1], text[variable.end() : following.start() if following is not None else None]


_WORD = 8  # The size of a "Q".
_VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=", re.MULTILINE)
