"""What setup itself wrote last, kept as fingerprints: it tells a change of the configuration from a change by hand."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lessee.core.immutable import Record
from lessee.ops.setup.policy.objects import Fields, Kind, Object, is_of

_LENGTH = 16


class Entry(Record, frozen=True):
    """One object: for each key the fingerprints of the values that are setup's own."""

    kind: Kind
    keys: Mapping[str, tuple[str, ...]]

    @property
    def refused(self) -> bool:
        """Whether the server would not have it."""
        return not self.keys


Recorded = Mapping[str, Entry]
"""By the object's path."""


def is_own(entry: Entry | None, fields: Fields) -> bool:
    """Whether all that the record knows of these fields is as setup wrote it."""
    if entry is None:
        return False
    return all(fingerprint(fields[key]) in entry.keys[key] for key in fields.keys() & entry.keys.keys())


def entry_of(wanted: Object, before: Entry | None = None) -> Entry:
    """The entry of an object that is as wanted; with `before` it may still be as it was."""
    keys = {key: (fingerprint(value),) for key, value in wanted.fields.items()}
    for key, known in (before.keys if before is not None else {}).items():
        keys[key] = tuple(dict.fromkeys((*keys.get(key, ()), *known)))
    return Entry(wanted.kind, keys)


def fingerprint(value: object) -> str:
    """Short, and the same for equal values of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def to_data(recorded: Recorded) -> dict[str, Any]:
    """As it is kept in KV."""
    objects = {
        path: {"kind": entry.kind.name, "keys": {key: list(known) for key, known in entry.keys.items()}}
        for path, entry in sorted(recorded.items())
    }
    return {"about": "what lessee setup wrote last; it holds no secret", "objects": objects}


def from_data(data: Mapping[str, Any], environment: str) -> Recorded:
    """What a record says of an environment's objects.

    What makes no sense in it, or is none of the environment's, is as good as not there: who may write below the
    environment's prefix, and nothing else, could else have another's objects removed.
    """
    objects = data.get("objects")
    return dict(_entries(objects.items() if isinstance(objects, Mapping) else (), environment))


def _entries(objects: Iterable[tuple[str, Any]], environment: str) -> Iterable[tuple[str, Entry]]:
    for path, said in objects:
        match said:
            case {"kind": str(kind), "keys": dict(keys)} if kind in Kind.__members__ and (
                is_of(Kind[kind], path, environment)
            ):
                known = {key: tuple(map(str, marks)) for key, marks in keys.items() if isinstance(marks, list)}
                yield path, Entry(Kind[kind], known)
            case _:
                pass
