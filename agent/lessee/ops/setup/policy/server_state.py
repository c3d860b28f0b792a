"""What is on a server, and the record of what setup itself wrote there."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.policy.objects import Fields, Kind, Object, belongs_to

_LENGTH = 16


class RecordEntry(ImmutableStruct, frozen=True):
    """An object in the record: the fingerprints of the values that setup wrote, by field."""

    kind: Kind
    keys: Mapping[str, tuple[str, ...]]

    @property
    def refused(self) -> bool:
        """Whether the server's API rejected it."""
        return not self.keys


SetupRecord = Mapping[str, RecordEntry]
"""What setup wrote last, by the object's path."""


def is_written_by_setup(entry: RecordEntry | None, fields: Fields) -> bool:
    """Whether all recorded fields still have a value that setup wrote."""
    if entry is None:
        return False
    return all(fingerprint(fields[key]) in entry.keys[key] for key in fields.keys() & entry.keys.keys())


def entry_of(desired: Object, before: RecordEntry | None = None) -> RecordEntry:
    """The entry of an object in its desired state; with `before`, its former values count too."""
    keys = {key: (fingerprint(value),) for key, value in desired.fields.items()}
    for key, known in (before.keys if before is not None else {}).items():
        keys[key] = tuple(dict.fromkeys((*keys.get(key, ()), *known)))
    return RecordEntry(desired.kind, keys)


def fingerprint(value: object) -> str:
    """A short hash, equal for equal JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def to_data(recorded: SetupRecord) -> dict[str, Any]:
    """The record as a secret in KV."""
    objects = {
        path: {"kind": entry.kind.name, "keys": {key: list(known) for key, known in entry.keys.items()}}
        for path, entry in sorted(recorded.items())
    }
    return {"about": "what lessee setup wrote last; it holds no secret", "objects": objects}


def from_data(data: Mapping[str, Any], environment: str) -> SetupRecord:
    """The record of an environment's objects.

    Entries that are malformed, or belong to another environment, are ignored. Otherwise a client that may write only
    below this environment's prefix could have another environment's objects removed.
    """
    objects = data.get("objects")
    return dict(_entries(objects.items() if isinstance(objects, Mapping) else (), environment))


def _entries(objects: Iterable[tuple[str, Any]], environment: str) -> Iterable[tuple[str, RecordEntry]]:
    for path, entry in objects:
        match entry:
            case {"kind": str(kind), "keys": dict(keys)} if kind in Kind.__members__ and (
                belongs_to(Kind[kind], path, environment)
            ):
                known = {key: tuple(map(str, marks)) for key, marks in keys.items() if isinstance(marks, list)}
                yield path, RecordEntry(Kind[kind], known)
            case _:
                pass


class SecretState(ImmutableStruct, frozen=True):
    """An existing secret: its version and the names of its keys, without values."""

    version: int
    keys: frozenset[str]
    deleted: bool = False
    """Whether its newest version is deleted or destroyed."""


class ServerState(ImmutableStruct, frozen=True):
    """The existing objects and secrets among the desired and the recorded ones."""

    objects: Mapping[str, Fields]
    """The fields of existing objects, by path."""
    secrets: Mapping[str, SecretState]
    """The secrets that ever had a version, by mount and path."""
    recorded: Mapping[str, SetupRecord]
    """The records by environment; the record under "" is what all environments share."""
