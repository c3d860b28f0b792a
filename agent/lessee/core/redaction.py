"""Takes secrets' values out of a text, in every form in which they are likely to stand in it."""

import base64
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

SHORTEST = 5
"""Characters. What is shorter stands in any text by chance, and hiding it would hide the text."""
MASK = "***"


class Redactor:
    """Knows values and hides them. Words that the configuration itself spells out are no secrets."""

    def __init__(self) -> None:
        self._public = ""
        self._forms: dict[str, tuple[frozenset[str], ...]] = {}

    def publish(self, text: str) -> None:
        """What stands in this text is no secret."""
        self._public = text

    def learn(self, source: str, values: Iterable[object]) -> None:
        """Hide these values, and those that the same source had before; older ones are forgotten.

        Strings, numbers, and all that is in mappings and lists.
        """
        learnt = frozenset(form for value in values for text in _strings(value) for form in forms(text))
        known = self._forms.get(source, ())
        if not known or known[-1] != learnt:
            self._forms[source] = (*known[-1:], learnt)

    def clean(self, text: str) -> str:
        """The text without them, the longest first: a value may be a part of another."""
        # A list at once, for another thread may learn meanwhile.
        found = {form for known in list(self._forms.values()) for some in known for form in some if form in text}
        for form in sorted(found, key=len, reverse=True):
            if form not in self._public:
                text = text.replace(form, MASK)
        return text


def forms(text: str) -> Iterable[str]:
    """The text as it is and as it is likely to be encoded: none of one that is shorter than `SHORTEST`."""
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
        # A multi-line value is most often printed by the line.
        yield from text.splitlines()


def texts(value: object) -> Iterable[str]:
    """Each text and number that a value of JSON holds, as text; no names of fields."""
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
