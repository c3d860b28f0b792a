"""Redaction: replaces the values of secrets in a text, in every encoding in which they are likely to occur.

It ignores case, because programs print names, hosts and hex in another one than they read.
"""

import base64
import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, quote_plus

from lessee.core.decoding import decoded_parts

MOST_LINES = 20_000
"""Lines of the values of one source that are hidden each by itself. A value is hidden as a whole in any case."""
LONGEST_ENCODED = 2**18
"""Characters. Of a longer value, no encoding of the whole is searched for: they would take many times its memory."""
SHORTEST = 5
"""Characters. A shorter value occurs in any text by chance, and hiding it would make the text unreadable."""
MASK = "***"

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")
# ASCII without controls, quotes and backslash. As a complement of ranges it takes 4 ms to compile.
_UNQUOTED = re.compile(r"[ !#-&(-\[\]-~]+")
_PRINTABLE = re.compile(r"[\t -~]*")
_FOR_URLS = str.maketrans("+/", "-_")
_SAMPLES = 8
"""The parts of a form from which its key in the index is chosen."""
_SPARE = 2**14
"""Characters of forgotten values that stay in the index in any case, and half as many as it has known ones."""
_ENTRY = 200
"""Characters for which each value counts in addition, because a short one has as many keys as a long one."""
_LONG = 1000
"""Characters."""

_Entry = tuple[str, str]
"""A source, and one of its values."""


class Redactor:
    """Hides the values that it has learned. Words in the configuration are not secrets.

    Any thread may use it. What it costs to clean a text depends on the text, not on the number of values.
    """

    def __init__(self) -> None:
        self._public = ""
        self._values: dict[str, tuple[tuple[str, ...], ...]] = {}
        """The texts of each source, and the previous ones."""
        self._indexes: tuple[_Index, ...] = (_Index(),)
        """The index, and during a rebuild its successor. Values are added to both, and searched for in both."""
        self._known = 0
        self._forgotten = 0
        """The sizes of the known and of the forgotten values, in characters."""
        self._rebuilds = [self._rebuild]

    def allow(self, text: str) -> None:
        """Do not hide anything that this text contains."""
        self._public = _lowered(text)

    def learn(self, source: str, values: Iterable[object]) -> None:
        """Hide these values and the previous ones of the same source; forget older ones.

        Values are strings, numbers, and whatever mappings and lists contain.
        """
        found = {text for text in _strings(values) if len(text) >= SHORTEST}
        learned = tuple(sorted(found))
        known = self._values.get(source, ())
        if known and known[-1] == learned:
            return
        self._values[source] = (*known[-1:], learned)
        self._add(source, learned)
        dropped = sum(map(_size, known[:-1]))
        self._known += _size(learned) - dropped
        self._forgotten += dropped
        # What was forgotten stays in the index for a while: each rebuild takes as long as it has known values.
        if self._forgotten > self._known // 2 + _SPARE:
            with suppress(IndexError):  # Another thread has taken it.
                rebuild = self._rebuilds.pop()
                rebuild()
                self._rebuilds.append(rebuild)

    def clean(self, text: str) -> str:
        """The text with each known value replaced, also in what the text encodes: a value may be a part of another."""
        if len(text) < SHORTEST or all(index.is_empty for index in self._indexes):
            return text
        places = list(self._places(text))
        for part in decoded_parts(text):
            places += [part.place(start, end) for start, end in self._places(part.text)]
        return _masked(text, places) if places else text

    def clean_data(self, value: object) -> object:
        """The value with each text in it cleaned by itself, to be encoded afterward.

        A known value that is like a part of the encoding changes nothing of it. Field names stay as they are. What JSON
        has no type for becomes its text, and a number that is a known value the mask.
        """
        match value:
            case str():
                return self.clean(value)
            case bool() | None:
                return value
            case int() | float():
                text = str(value)
                clean = self.clean(text) if len(text) >= SHORTEST else text
                return value if clean == text else clean
            case Mapping():
                return {key: self.clean_data(item) for key, item in value.items()}
            case list() | tuple():
                return [self.clean_data(item) for item in value]
            case _:
                return self.clean(str(value))

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        lowered = _lowered(text)
        entries = self._entries(lowered)
        if long := {entry for entry in entries if len(entry[1]) > _LONG}:
            # Long values first, and without them the rest: it has few of the lines of which they may have thousands.
            places = list(self._places_of(long, lowered))
            yield from places
            lowered = _blanked(lowered, places)
            entries = self._entries(lowered) - long
        yield from self._places_of(entries, lowered)

    def _entries(self, lowered: str) -> set[_Entry]:
        return {entry for index in self._indexes for entry in index.entries(lowered)}

    def _places_of(self, entries: Iterable[_Entry], lowered: str) -> Iterator[tuple[int, int]]:
        for form in {form for entry in entries for form in self._forms(*entry, lowered) if form in lowered}:
            if form not in self._public:
                at = lowered.find(form)
                while at >= 0:
                    yield at, at + len(form)
                    at = lowered.find(form, at + len(form))

    def _forms(self, source: str, value: str, lowered: str) -> Iterable[str]:
        """The forms of a value that may be in the text; nothing for a value that was forgotten."""
        # No form is shorter than the value itself. Encoding a large value for each line of a log would take seconds.
        known = len(value) <= len(lowered) and any(_has(learned, value) for learned in self._values.get(source, ()))
        return _indexed_forms(value) if known else ()

    def _add(self, source: str, learned: Iterable[str]) -> None:
        indexes: tuple[_Index, ...] = ()
        while indexes is not self._indexes:  # Another thread may have begun to rebuild it.
            indexes = self._indexes
            for index in indexes:
                for text in learned:
                    index.add((source, text), _indexed_forms(text))

    def _rebuild(self) -> None:
        self._forgotten = 0
        successor = _Index()
        self._indexes = (*self._indexes, successor)
        # What another thread learns from now on is added to both.
        for source, known in list(self._values.items()):
            for learned in known:
                for text in learned:
                    successor.add((source, text), _indexed_forms(text))
        self._indexes = (successor,)


class _Index:
    """Finds the values of which a form may be in a text, by a key of SHORTEST characters from each form."""

    def __init__(self) -> None:
        # Each change is a single operation on a dictionary, so that threads need no lock.
        self._first: dict[str, _Entry] = {}
        self._more: dict[str, dict[_Entry, None]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._first

    def add(self, entry: _Entry, forms: Iterable[str]) -> None:
        """Add the forms of one value."""
        keys: list[str] = []
        for form in forms:
            if not any(key in form for key in keys):
                keys.append(key := self._rarest(form, entry))
                if self._first.setdefault(key, entry) != entry:
                    self._more.setdefault(key, {})[entry] = None

    def entries(self, text: str) -> set[_Entry]:
        """The values with a key in the text."""
        first, found = self._first, set[_Entry]()
        for key in {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)} if first else ():
            if key in first:
                found.add(first[key])
                found.update(list(self._more.get(key, ())))
        return found

    def _rarest(self, form: str, entry: _Entry) -> str:
        """A part of the form with few values: many begin alike, such as tokens and URLs."""
        last = len(form) - SHORTEST
        keys = (form[at : at + SHORTEST] for at in range(0, last + 1, max(1, last // _SAMPLES)))
        best, fewest = "", math.inf
        for key in keys:
            count = len(self._more.get(key, ())) + (self._first.get(key, entry) != entry)
            if not count:
                return key
            if count < fewest:
                best, fewest = key, count
        return best


def _masked(text: str, places: list[tuple[int, int]]) -> str:
    """The text with a mask for each place; places that overlap get one."""
    parts: list[str] = []
    end = 0
    for start, stop in sorted(places):
        if start >= end:
            parts += (text[end:start], MASK)
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _blanked(text: str, places: list[tuple[int, int]]) -> str:
    """The text with NUL for each character of these places, so that it is as long as before."""
    parts: list[str] = []
    end = 0
    for start, stop in sorted(places):
        hidden = max(0, stop - max(start, end))
        parts += (text[end:start], "\0" * hidden)
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _lowered(text: str) -> str:
    """The text in lower case, each character by itself, so that it is as long as before."""
    return text.lower() if text.isascii() else "".join(map(_lowered_char, text))


def _lowered_char(char: str) -> str:
    lowered = char.upper().lower()  # Two small letters may have the same capital: the micro sign and mu.
    return lowered if len(lowered) == 1 else char


def _indexed_forms(text: str) -> Iterator[str]:
    """What the index has of a value: its forms, and those that are not found by decoding a text."""
    if len(text) > LONGEST_ENCODED:
        yield _lowered(text)
        return
    yield from map(_lowered, forms(text))
    if not _PRINTABLE.fullmatch(text):
        raw = text.encode("utf-8", "surrogatepass")
        yield from map(_lowered, _parts_of_encodings(raw))


def _parts_of_encodings(raw: bytes) -> Iterator[str]:
    """The value in hex, and what base64 makes of it behind one and two other bytes."""
    yield raw.hex()
    yield raw.hex(" ")
    yield raw.hex(":")
    for before in (0, 1, 2):
        encoded = base64.b64encode(b"\0" * before + raw)
        # Other bytes determine a part of the first and of the last characters.
        whole = encoded[(8 * before + 5) // 6 : 8 * (before + len(raw)) // 6].decode()
        yield whole
        yield whole.translate(_FOR_URLS)


def forms(text: str) -> Iterable[str]:
    """The text and its likely encodings; nothing for a text that is shorter than `SHORTEST`."""
    if len(text) < SHORTEST:
        return
    raw = text.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(raw).decode()
    yield text
    yield encoded
    yield encoded.rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if _PLAIN.fullmatch(text):
        return  # Each of the others is the text itself.
    yield quote(raw, safe="")
    yield quote(raw)
    yield quote_plus(raw)
    if _UNQUOTED.fullmatch(text):
        return  # As above.
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]


def _size(learned: tuple[str, ...]) -> int:
    return sum(map(len, learned)) + _ENTRY * len(learned)


def _has(learned: tuple[str, ...], value: str) -> bool:
    at = bisect_left(learned, value)
    return at < len(learned) and learned[at] == value


def _strings(values: Iterable[object]) -> Iterable[str]:
    left = MOST_LINES
    for value in values:
        for text in texts(value):
            yield text
            # A multi-line value is usually printed line by line.
            lines = text.splitlines()[:left]
            left -= len(lines)
            yield from lines


def texts(value: object) -> Iterable[str]:
    """Each string and number in a JSON value, as text; not the field names."""
    match value:
        case str():
            yield value
        case bool() | None:
            pass
        case int() | float():
            yield str(value)
        case Mapping():
            for item in value.values():
                yield from texts(item)
        case list() | tuple():
            for item in value:
                yield from texts(item)
        case _:
            pass
