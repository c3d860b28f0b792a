"""Every key of lessee.yaml, from the JSON Schema."""

import json
import re

from support.paths import ROOT
from support.reference.markdown import code, page, table

SCHEMA = json.loads((ROOT / "agent/lessee/lessee.schema.json").read_text())
_ABOUT = """
Every key of `lessee.yaml`, by its block. `NAME` is a name that you choose, and `[]` an entry of a list. Any text may
contain `${NAME}`, a variable of the environment. [Configuration](configuration.md) explains the most used keys, and
`lessee check --schema` prints the schema from which this page is made.
"""
_VARIABLE = r"\$\{"
_DURATION = r"(?:ms|s|m|h|d)"
_FEW = 3
"""An object of so few keys is listed each time that it is used."""


def keys_page():
    """The page of all keys."""
    listing = Listing()
    parts = []
    for name, schema in SCHEMA["properties"].items():
        section = list(listing.section(name, schema))
        # A value without keys of its own has its description in the table.
        about = [f"{schema['description']}\n"] * (code(name) not in section[0])
        parts += [f"## {name}\n", *about, *section]
    return page("All keys", _ABOUT, *parts)


class Listing:
    """The sections of the page. An object that several blocks have is listed where it is first."""

    def __init__(self):
        self._places = {}

    def section(self, path, schema):
        """A table of this block's keys, and the sections of what may be one of several objects."""
        self._rows, later = [], []
        self._list(path, schema, later)
        if self._rows:
            yield table(("key", "value", "default", "meaning"), self._rows)
        while later:
            place, alternatives = later.pop(0)
            for one in alternatives:
                name, value = _discriminator(one)
                mark = f"{name}: {value}" if name else ", ".join(one.get("required", ()))
                yield f"### {place}, {mark}\n" if mark else f"### {place}\n"
                yield f"{one.get('description', '')}\n"
                self._rows = []
                for key, below in one["properties"].items():
                    if key != name:
                        self._list(f"{place}.{key}", below, later, is_required=key in one.get("required", ()))
                if self._rows:
                    yield table(("key", "value", "default", "meaning"), self._rows)

    def _list(self, path, schema, later, *, is_required=False):
        objects = [found for found in map(_resolved, _options(schema)) if "properties" in found]
        if "." in path or not objects:
            default = _default(schema, is_required=is_required)
            self._rows.append((code(path), _kind(schema), default, schema.get("description", "")))
        for below, found in _below(path, schema):
            self._descend(below, found, later)

    def _descend(self, path, objects, later):
        if len(objects) > 1:
            known = self._places.get(str(objects))
            if known is None:
                self._places[str(objects)] = path
                later.append((path, objects))
            else:
                self._rows.append((code(f"{path}.…"), "", "", f"the same keys as [`{known}`](#{_anchor(known)})"))
            return
        [one] = objects
        known = self._places.get(str(one))
        if known is not None and len(one["properties"]) > _FEW:
            self._rows.append((code(f"{path}.…"), "", "", f"the same keys as `{known}`"))
            return
        self._places.setdefault(str(one), path)
        for key, below in one["properties"].items():
            self._list(f"{path}.{key}", below, later, is_required=key in one.get("required", ()))


def _anchor(path):
    return path.partition(".")[0].partition("[")[0]


def _resolved(schema):
    return SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _options(schema):
    """The alternatives of a value, without null and without a variable in its place."""
    schema = _resolved(schema)
    found = schema.get("anyOf") or schema.get("oneOf")
    if not found or "properties" in schema:
        return [schema]
    return [
        one
        for option in found
        for one in _options(option)
        if one.get("type") != "null" and one.get("pattern") != _VARIABLE
    ]


def _below(path, schema):
    """The objects in a value, each with its path: its own, those of its entries, and those by name."""
    own = []
    for option in _options(schema):
        if "properties" in option:
            own.append(option)
        elif "items" in option:
            yield from _below(f"{path}[]", option["items"])
        elif isinstance(option.get("additionalProperties"), dict):
            yield from _below(f"{path}.NAME", option["additionalProperties"])
    if own:
        yield path, own


def _discriminator(schema):
    """The key that says which object it is, and its value."""
    for key, below in schema["properties"].items():
        if "const" in below:
            return key, below["const"]
    return "", ""


def _kind(schema):
    """What a value is, in a few words."""
    found = []
    for option in _options(schema):
        text = _kind_of(option)
        if text not in found:
            found.append(text)
    return " or ".join(found)


def _kind_of(option):
    if "const" in option:
        return code(json.dumps(option["const"]).strip('"'))
    if "enum" in option:
        return ", ".join(code(json.dumps(one).strip('"')) for one in option["enum"])
    if "items" in option:
        return f"list of {_kind(option['items'])}"
    if "properties" in option:
        return "object"
    if option.get("type") == "object":
        below = option.get("additionalProperties")
        return f"by name: {_kind(below)}" if isinstance(below, dict) and below else "object"
    if re.search(re.escape(_DURATION), option.get("pattern", "")):
        return "duration"
    return {"string": "text", "boolean": "`true`, `false`"}.get(option.get("type"), option.get("type", "any"))


def _default(schema, *, is_required):
    if is_required:
        return "required"
    return code(json.dumps(schema["default"])) if schema.get("default") not in (None, [], {}) else ""
