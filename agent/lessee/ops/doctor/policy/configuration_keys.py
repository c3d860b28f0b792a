"""Which keys a configuration sets, without its values and without names that its author chose."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_MOST_KEYS = 5000
_UNKNOWN = "(unknown key)"

Schema = Mapping[str, Any]


def keys_set(document: object, schema: Schema) -> dict[str, int]:
    """How often each key of the schema is set, such as `apps.NAME.directory`, in the order of the file.

    A name that is no key of the schema is counted as unknown, and not repeated: it may be a value in the wrong place.
    """
    counts: Counter[str] = Counter()
    for number, path in enumerate(_paths(document, schema, schema, "")):
        if number == _MOST_KEYS:
            break
        counts[path] += 1
    return dict(counts)


def _paths(value: object, form: Schema, schema: Schema, path: str) -> Iterator[str]:
    forms = list(_forms(form, schema))
    if isinstance(value, list):
        items = next((one["items"] for one in forms if "items" in one), None)
        for item in value:
            # Lists that the schema does not know may be as many as aliases make of them.
            if items is not None or isinstance(item, Mapping):
                yield from _paths(item, items or {}, schema, f"{path}[]")
    if not isinstance(value, Mapping):
        return
    properties: dict[str, list[Schema]] = {}
    for one in forms:
        for name, key in one.get("properties", {}).items():
            properties.setdefault(name, []).append(key)
    named = next((one["additionalProperties"] for one in forms if one.get("additionalProperties")), None)
    start = f"{path}." if path else ""
    for name, inner in value.items():
        if name in properties:
            yield start + str(name)
            yield from _paths(inner, {"anyOf": properties[name]}, schema, start + str(name))
        elif named is not None:
            yield f"{start}NAME"
            yield from _paths(inner, named, schema, f"{start}NAME")
        else:
            yield start + _UNKNOWN


def _forms(form: Schema, schema: Schema) -> Iterator[Schema]:
    """What the value may be, with references resolved."""
    if "$ref" in form:
        yield from _forms(schema["$defs"][form["$ref"].rpartition("/")[2]], schema)
        return
    yield form
    for one in form.get("anyOf", ()):
        yield from _forms(one, schema)
