"""Redaction: replaces the values of secrets in a text, in every encoding in which they are likely to occur."""

import base64
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

SHORTEST = 5
"""Characters. A shorter value occurs in any text by chance, and hiding it would make the text unreadable."""
MASK = "***"


class Redactor:
    """Hides the values that it has learned. Words in the configuration are not secrets."""

    def __init__(self) -> None:
        self._public = ""
        self._forms: dict[str, tuple[frozenset[str], ...]] = {}

    def allow(self, text: str) -> None:
        """Do not hide anything that this text contains."""
        self._public = text

    def learn(self, source: str, values: Iterable[object]) -> None:
        """Hide these values and the previous ones of the same source; forget older ones.

        Values are strings, numbers, and whatever mappings and lists contain.
        """
        learned = frozenset(form for value in values for text in _strings(value) for form in forms(text))
        known = self._forms.get(source, ())
        if not known or known[-1] != learned:
            self._forms[source] = (*known[-1:], learned)

    def clean(self, text: str) -> str:
        """The text with each known value replaced, the longest first: a value may be a part of another."""
        # Copied into a list, because another thread may learn values meanwhile.
        found = {form for known in list(self._forms.values()) for some in known for form in some if form in text}
        for form in sorted(found, key=len, reverse=True):
            if form not in self._public:
                text = text.replace(form, MASK)
        return text


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
    yield quote(raw, safe="")
    yield quote(raw)
    yield quote_plus(raw)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]


def _strings(value: object) -> Iterable[str]:
    for text in texts(value):
        yield text
        # A multi-line value is usually printed line by line.
        yield from text.splitlines()


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
