"""Searches a text for secrets. A hit holds the value, which no report gets."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.key_formats import find_keys
from lessee.ops.scan.policy.candidates import Candidate, find_assignments, find_logins, find_tokens
from lessee.ops.scan.policy.classifier import (
    PLAIN,
    URL,
    Classification,
    Verdict,
    classify,
    classify_key,
    classify_login,
    classify_plugin,
    classify_url,
    literal_part,
)
from lessee.ops.scan.policy.places import Kind, Place
from lessee.ops.scan.policy.randomness import looks_random


class Hit(ImmutableStruct, frozen=True):
    """A secret in a text, at a line from 1. `has_format`: its format says that a program chose it."""

    hidden = ("value",)

    rule: str
    name: str
    value: str
    line: int
    detail: str = ""
    has_format: bool = False


class SearchResult(ImmutableStruct, frozen=True):
    """What a text contains. `placeholders`: how many values are named like secrets, but are not meant to be used."""

    hits: tuple[Hit, ...]
    placeholders: int


def search(text: str, place: Place, plugins: Iterable[Candidate] = ()) -> SearchResult:
    """Search a text, which is a file or a part of one. `plugins`: what other detectors have found in it."""
    found = _Findings()
    _add_formats(text, place, found)
    if place.kind is not Kind.GENERATED:
        for candidate in find_logins(text):
            found.add(candidate.start, candidate.end, "", candidate.value, classify_login(candidate.value, place))
        tokens = (token for token in (() if place.is_example else find_tokens(text)) if looks_random(token.value))
        for candidate in (*find_assignments(text, place), *tokens):
            if found.is_free(candidate.start, candidate.end):
                if candidate.is_argument and not _ARGUMENT.fullmatch(candidate.value):
                    continue
                verdict = classify(candidate.name, candidate.value, place, is_quoted=candidate.is_quoted)
                found.add(candidate.start, candidate.end, candidate.name, candidate.value, verdict)
    for candidate in plugins:
        found.add(candidate.start, candidate.end, "", candidate.value, classify_plugin(candidate.name, candidate.value))
    breaks = [match.start() for match in re.finditer("\n", text)]
    hits = tuple(
        Hit(item.rule, name, value, bisect_right(breaks, start) + 1, item.detail, item.rule in _FORMATS)
        for start, name, value, item in found
        if item.is_finding
    )
    return SearchResult(hits, sum(item.is_placeholder for _, _, _, item in found))


class _Findings:
    """Classified secrets by their places, none of which overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._items: list[tuple[int, str, str, Classification]] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, str, str, Classification]]:
        return iter(self._items)

    def is_free(self, start: int, end: int) -> bool:
        at = bisect_left(self._starts, end)
        return at == 0 or self._ends[at - 1] <= start

    def add(self, start: int, end: int, name: str, value: str, verdict: Classification) -> None:
        if verdict.verdict is Verdict.SECRET and self.is_free(start, end):
            at = bisect_left(self._starts, start)
            self._starts.insert(at, start)
            self._ends.insert(at, end)
            self._items.insert(at, (start, name, value, verdict))


def _add_formats(text: str, place: Place, found: _Findings) -> None:
    """Keys of known formats first: such a value is not reported again by its name."""
    for form, start, end in find_keys(text):
        verdict, stop = classify_key(form, text[start:end], name := _name_before(text, start)), end
        if verdict.rule == "private-key" and "BEGIN" in text[start:end]:
            body = _KEY_BODY.match(text, end)
            verdict, stop = (verdict, body.end()) if body is not None else (PLAIN, end)
        found.add(start, stop, name, text[start:stop], verdict)
    for url in URL.finditer(text) if "://" in text else ():
        start, end = url.span("password")
        found.add(start, end, _name_before(text, url.start()), literal_part(url["password"]), classify_url(url, place))


def _name_before(text: str, at: int) -> str:
    line = text[max(0, at - _NEAR) : at].rpartition("\n")[2]
    name = _NAME.search(line)
    return name[1] if name is not None else ""


_FORMATS = frozenset({"known-key", "private-key"})
_NEAR = 120
_ARGUMENT = re.compile(r"(?!-)(?=\D*\d)\S{10,}")
"""What a value in a list must look like to be more than a word."""
_NAME = re.compile(r"([A-Za-z_][\w.-]*)[\"'`\]]*[ \t]*(?::|=|:=|=>|,)[ \t]*[\"'`]?$", re.ASCII)
_KEY_BODY = re.compile(
    r"(?:[ \t\"'+,>|]|\\n|\\r|\r?\n|[A-Z][\w-]*: [^\n]*\n){0,40}+"
    r"(?:[A-Za-z0-9+/=](?:[ \t\"'+,>|]|\\n|\\r"
    r"|\r?\n){0,40}+){64,12000}+",
    re.ASCII,
)
"""The base64 after the header of a private key; a program that only looks for the header has none."""
