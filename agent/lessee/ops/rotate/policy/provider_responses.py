"""Reads a provider's responses: a new key, the list of keys, and which of them matches a known key."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.recipes import Create, Listing, Pagination

_HANDLE = re.compile(r"[\x21-\x7e]{1,512}")
_MASKED = re.compile(r"(?P<start>[^.…*•]*)(?:\.{2,}|…+|\*{2,}|•+)(?P<end>[^.…*•]*)")
_MIN_VISIBLE = 4
"""Characters that a masked key must have at its end; fewer may be equal by chance."""


class UnexpectedResponseError(Exception):
    """A response does not match the recipe. The text holds nothing of the response."""


class ListedKey(ImmutableStruct, frozen=True):
    """A key in the provider's list."""

    handle: str
    label: str
    masked_key: str = ""


def new_key(create: Create, response: Any) -> tuple[dict[str, str], str]:
    """The secret's keys that change, and the new key's handle. Raises UnexpectedResponseError."""
    fields = {}
    for key, query in create.fields.items():
        value = _single(query, response)
        if not isinstance(value, str) or not value:
            raise UnexpectedResponseError(f"no text at `fields.{key}`")
        fields[key] = value
    return fields, "" if create.handle is None else handle(create.handle, response)


def handle(query: Any, response: Any) -> str:
    """A key's id in the provider's API. Raises UnexpectedResponseError."""
    found = _single(query, response)
    if isinstance(found, bool) or not isinstance(found, str | int) or not _HANDLE.fullmatch(str(found)):
        raise UnexpectedResponseError("no name or number at `handle`")
    return str(found)


def listed_keys(listing: Listing, page: Any) -> list[ListedKey]:
    """The keys on a page of the list. Raises UnexpectedResponseError."""
    if not isinstance(page, dict | list):
        raise UnexpectedResponseError("not a JSON object or list")
    return list(_listed_keys(listing, listing.items.findall(page)))


def _listed_keys(listing: Listing, items: Iterable[Any]) -> Iterator[ListedKey]:
    for item in items:
        label = _single(listing.label, item)
        masked = _single(listing.masked_key, item) if listing.masked_key is not None else None
        yield ListedKey(handle(listing.handle, item), str(label or ""), masked if isinstance(masked, str) else "")


def next_cursor(pagination: Pagination, page: Any, count: int) -> str:
    """The next page's parameter after `count` keys; empty where this page is the last."""
    if pagination.cursor is None:
        return str(count)
    cursor = _single(pagination.cursor, page)
    return "" if cursor is None else str(cursor)


def matching_key(keys: Iterable[ListedKey], value: str) -> ListedKey | None:
    """The key whose masked form matches the value; None where none or several match."""
    matching = [key for key in keys if _matches(key.masked_key, value)]
    return matching[0] if len(matching) == 1 else None


def _matches(masked_key: str, value: str) -> bool:
    parts = _MASKED.fullmatch(masked_key)
    if parts is None or len(parts["end"]) < _MIN_VISIBLE or len(value) <= len(parts["start"]) + len(parts["end"]):
        return False
    return value.startswith(parts["start"]) and value.endswith(parts["end"])


def bound_handle(handle: str, fields: Fields) -> str:
    """A handle with a fingerprint of its key, since a user may write another key into the secret."""
    return f"{_fingerprint(fields)} {handle}" if handle else ""


def handle_of(bound: str, fields: Fields, keys: Collection[str]) -> str:
    """The handle in a result of `bound_handle`, if it belongs to these fields; otherwise an empty text."""
    fingerprint, _, handle = bound.partition(" ")
    return handle if fingerprint == _fingerprint({key: fields.get(key) for key in keys}) else ""


def _fingerprint(fields: Fields) -> str:
    text = "\0".join(f"{key}={fields[key]}" for key in sorted(fields))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _single(query: Any, document: Any) -> Any:
    """The value at the query, if it is a single one."""
    found = query.findall(document) if isinstance(document, dict | list) else []
    return found[0] if len(found) == 1 else None
