"""What a provider's answers hold: a new key, the keys that there are, and which of them is meant."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from lessee.core.immutable import Record
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.recipes import Create, Listing, Pages

_HANDLE = re.compile(r"[\x21-\x7e]{1,512}")
_HINT = re.compile(r"(?P<start>[^.…*•]*)(?:\.{2,}|…+|\*{2,}|•+)(?P<end>[^.…*•]*)")
_SHOWN = 4
"""So many characters at the end must a hint show; fewer are alike by chance."""


class UnusableError(Exception):
    """An answer is not what the recipe says; the text holds nothing of it."""


class Listed(Record, frozen=True):
    """A key that there is, as a list shows it."""

    handle: str
    label: str
    hint: str = ""


def taken(create: Create, answer: Any) -> tuple[dict[str, str], str]:
    """The secret's keys that change, and what the API calls the new key. Raises UnusableError."""
    fields = {}
    for key, query in create.take.items():
        value = _one(query, answer)
        if not isinstance(value, str) or not value:
            raise UnusableError(f"there is no text at `take.{key}`")
        fields[key] = value
    return fields, "" if create.handle is None else handle(create.handle, answer)


def handle(query: Any, answer: Any) -> str:
    """What the API calls a key. Raises UnusableError."""
    found = _one(query, answer)
    if isinstance(found, bool) or not isinstance(found, str | int) or not _HANDLE.fullmatch(str(found)):
        raise UnusableError("there is no name or number at `handle`")
    return str(found)


def listed(listing: Listing, page: Any) -> list[Listed]:
    """The keys on a page of the list. Raises UnusableError."""
    if not isinstance(page, dict | list):
        raise UnusableError("it is no JSON object or list")
    return list(_listed(listing, listing.items.findall(page)))


def _listed(listing: Listing, items: Iterable[Any]) -> Iterator[Listed]:
    for item in items:
        label = _one(listing.label, item)
        hint = _one(listing.hint, item) if listing.hint is not None else None
        yield Listed(handle(listing.handle, item), str(label or ""), hint if isinstance(hint, str) else "")


def following(pages: Pages, page: Any, found: int) -> str:
    """What the next page is asked with, after so many keys; empty: this was the last."""
    if pages.after is None:
        return str(found)
    after = _one(pages.after, page)
    return "" if after is None else str(after)


def hinted(keys: Iterable[Listed], value: str) -> Listed | None:
    """The one key whose hint fits this value; None where there is none, or several."""
    fitting = [key for key in keys if _fits(key.hint, value)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(hint: str, value: str) -> bool:
    parts = _HINT.fullmatch(hint)
    if parts is None or len(parts["end"]) < _SHOWN or len(value) <= len(parts["start"]) + len(parts["end"]):
        return False
    return value.startswith(parts["start"]) and value.endswith(parts["end"])


def signed(named: str, fields: Fields) -> str:
    """A handle with a fingerprint of its key: a person may put another key into the secret meanwhile."""
    return f"{_fingerprint(fields)} {named}" if named else ""


def handle_of(kept: str, fields: Fields, keys: Collection[str]) -> str:
    """The handle in what `signed` gave, if it is of these; else an empty text."""
    fingerprint, _, named = kept.partition(" ")
    return named if fingerprint == _fingerprint({key: fields.get(key) for key in keys}) else ""


def _fingerprint(fields: Fields) -> str:
    text = "\0".join(f"{key}={fields[key]}" for key in sorted(fields))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _one(query: Any, document: Any) -> Any:
    """What is there, if it is one thing alone."""
    found = query.findall(document) if isinstance(document, dict | list) else []
    return found[0] if len(found) == 1 else None
