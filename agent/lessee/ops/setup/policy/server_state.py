"""What is on a server, and the record of what setup itself wrote there."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.policy.objects import Fields, Kind, Object, belongs_to

_LENGTH = 16


class RecordEntry(ImmutableStruct, frozen=True):
    """One object: for each key the fingerprints of the values that are setup's own."""

    kind: Kind
    keys: Mapping[str, tuple[str, ...]]

    @property
    def refused(self) -> bool:
        """Whether the server would not have it."""
        return not self.keys


SetupRecord = Mapping[str, RecordEntry]
"""By the object's path."""


def is_written_by_setup(entry: RecordEntry | None, fields: Fields) -> bool:
    """Whether all that the record knows of these fields is as setup wrote it."""
    if entry is None:
        return False
    return all(fingerprint(fields[key]) in entry.keys[key] for key in fields.keys() & entry.keys.keys())


def entry_of(wanted: Object, before: RecordEntry | None = None) -> RecordEntry:
    """The entry of an object that is as wanted; with `before` it may still be as it was."""
    keys = {key: (fingerprint(value),) for key, value in wanted.fields.items()}
    for key, known in (before.keys if before is not None else {}).items():
        keys[key] = tuple(dict.fromkeys((*keys.get(key, ()), *known)))
    return RecordEntry(wanted.kind, keys)


def fingerprint(value: object) -> str:
    """Short, and the same for equal values of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def to_data(recorded: SetupRecord) -> dict[str, Any]:
    """As it is kept in KV."""
    objects = {
        path: {"kind": entry.kind.name, "keys": {key: list(known) for key, known in entry.keys.items()}}
        for path, entry in sorted(recorded.items())
    }
    return {"about": "what lessee setup wrote last; it holds no secret", "objects": objects}


def from_data(data: Mapping[str, Any], environment: str) -> SetupRecord:
    """What a record says of an environment's objects.

    What makes no sense in it, or is none of the environment's, is as good as not there: who may write below the
    environment's prefix, and nothing else, could else have another's objects removed.
    """
    objects = data.get("objects")
    return dict(_entries(objects.items() if isinstance(objects, Mapping) else (), environment))


def _entries(objects: Iterable[tuple[str, Any]], environment: str) -> Iterable[tuple[str, RecordEntry]]:
    for path, said in objects:
        match said:
            case {"kind": str(kind), "keys": dict(keys)} if kind in Kind.__members__ and (
                belongs_to(Kind[kind], path, environment)
            ):
                known = {key: tuple(map(str, marks)) for key, marks in keys.items() if isinstance(marks, list)}
                yield path, RecordEntry(Kind[kind], known)
            case _:
                pass


class SecretState(ImmutableStruct, frozen=True):
    """A secret that is there; the names of its keys, and no value."""

    version: int
    keys: frozenset[str]
    deleted: bool = False
    """Whether its newest version is deleted or destroyed by now."""


class ServerState(ImmutableStruct, frozen=True):
    """What a server holds of what is wanted and of what was written before."""

    objects: Mapping[str, Fields]
    """By path, of those that are there."""
    secrets: Mapping[str, SecretState]
    """By mount and path, of those that have ever had a version."""
    recorded: Mapping[str, SetupRecord]
    """By environment, of those that have a record; empty: of what all of them share."""
