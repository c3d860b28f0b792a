"""A fix: the changes of files that make a finding disappear, and the lines that a person can paste instead."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from lessee.core.immutable import ImmutableStruct

Path = tuple[str | int, ...]
"""The keys and list indexes that lead to a value of a YAML file."""


class Verbatim(ImmutableStruct, frozen=True):
    """A value as YAML writes it, such as `!reset null`."""

    text: str


Data = str | int | bool | None | Verbatim | Sequence["Data"] | Mapping[str, "Data"]


class Merge(ImmutableStruct, frozen=True):
    """Adds a document to a YAML file: keys that are missing, items that are missing, and scalars that differ."""

    file: str
    document: Mapping[str, Data]
    path: Path = ()
    """The mapping that it is added to."""


class SetScalar(ImmutableStruct, frozen=True):
    """Replaces the scalar at a path, if it is still the expected one."""

    file: str
    path: Path
    old: str
    new: str


class Remove(ImmutableStruct, frozen=True):
    """Removes a key or an item, and its collection if that would be empty. A variable's name also names an item."""

    file: str
    path: Path


class RemoveVariable(ImmutableStruct, frozen=True):
    """Removes the lines of an `env_file` that set a variable."""

    file: str
    name: str


Change = Merge | SetScalar | Remove | RemoveVariable


class Fix(ImmutableStruct, frozen=True):
    """What a program may change without asking what the author meant."""

    title: str
    """An imperative: `mount it read-only`."""
    changes: tuple[Change, ...]


def merged(first: Mapping[str, Data], second: Mapping[str, Data]) -> dict[str, Data]:
    """Both documents; scalars of the second take precedence, and items occur once."""
    result = dict(first)
    for key, value in second.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merged(before, value)
        elif is_list(before) and is_list(value):
            result[key] = [*before, *(item for item in value if item not in before)]
        else:
            result[key] = value
    return result


def is_list(value: Data) -> TypeGuard[Sequence[Data]]:
    """Whether it is a list, and not a string."""
    return isinstance(value, Sequence) and not isinstance(value, str)
