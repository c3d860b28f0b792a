"""The new fields of a secret, and the notes of its history."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from lessee.core.errors import UsageError

Fields = Mapping[str, Any]

_NOTE = "lessee-note-"
"""The beginning of a note's key in the custom metadata; the version follows."""
_NOTES = 20
"""The newest notes, which stay: Vault allows 64 keys in the custom metadata of a secret."""
_LONGEST_NOTE = 512
"""Bytes of a value in custom metadata that Vault accepts."""


def edited(fields: Fields, key: str, value: object, *, where: str, exists: bool, create: bool) -> Fields:
    """The fields with the new value. Raises UsageError for a secret or key that does not exist, unless `create`."""
    if key not in fields and not create:
        if not exists:
            raise UsageError("no such secret", where=where, todo="correct the path, or add --create")
        similar = get_close_matches(key, fields, n=1)
        known = f"did you mean {similar[0]!r}" if similar else f"its keys are {', '.join(sorted(fields))}"
        raise UsageError(f"it has no key {key!r}", where=where, todo=f"{known}; a new key needs --create")
    return {**fields, key: value}


def new_type(before: object, after: object) -> str:
    """What to say if the value has another type of JSON than before; empty if not, or if there was none."""
    if before is None or (old := _type(before)) == (new := _type(after)):
        return ""
    return f"it was {old} before, and is {new} now"


def _type(value: object) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"


def check_note(note: str) -> None:
    """Raises UsageError for a note that Vault does not accept."""
    if not note or not note.isprintable():
        raise UsageError("the note is empty or not printable", where="--note", todo="write one line of text")
    if len(note.encode("utf-8", "replace")) > _LONGEST_NOTE:
        raise UsageError(f"the note is longer than {_LONGEST_NOTE} bytes", where="--note", todo="shorten it")


def changes_of(before: Mapping[str, str], after: Mapping[str, str]) -> Mapping[str, str | None]:
    """What differs, as a merge patch: None for what is removed."""
    return {key: after.get(key) for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)}


def with_note(metadata: Mapping[str, str], version: int, note: str) -> Mapping[str, str]:
    """The custom metadata with the note of a version; the oldest notes go."""
    numbers = sorted(
        int(text)
        for key in metadata
        if (text := key.removeprefix(_NOTE)) != key and text.isascii() and text.isdecimal()
    )
    dropped = {f"{_NOTE}{number}" for number in numbers[: max(0, len(numbers) + 1 - _NOTES)]}
    return {**{key: value for key, value in metadata.items() if key not in dropped}, f"{_NOTE}{version}": note}
