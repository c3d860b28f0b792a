"""The fields of each status with their meanings, from the types that declare them."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from lessee.agent.machine.status import fields as agent_fields
from lessee.ops.issue.policy import status_fields as issuer_fields
from lessee.ops.monitor.policy import status_fields as monitor_fields
from lessee.ops.rotate.policy import status_fields as rotator_fields
from support.reference.markdown import code, page, table

_ABOUT = """
Every field of `lessee status --json` and of `/status.json`. `NAME` is the name of an app, a target or the like, and
`[]` an entry of a list. Each time is a text in RFC 3339, in UTC. The [status port](configuration.md#the-status-port)
says who may read it, and [versions](versions.md) what changes with a version.
"""
_KINDS = {"str": "text", "int": "number", "float": "number", "bool": "`true`, `false`", "Timestamp": "time"}
_LIST = r"(?:\[\])*"
_KEYS = {"polling": "FOLDER"}
"""What the keys of a mapping are, if they are no names."""
DOCUMENTS = {
    "Of an agent": (agent_fields, "RunningAgentStatus"),
    "Of a rotator": (rotator_fields, "RotatorStatus"),
    "Of a monitor": (monitor_fields, "MonitorStatus"),
    "Of `lessee issue`": (issuer_fields, "IssuerStatus"),
}


def status_page():
    """The page of all fields."""
    parts = []
    for title, (module, name) in DOCUMENTS.items():
        parts += [f"## {title}\n", table(("field", "value", "meaning"), rows_of(module, name))]
    return page("Status", _ABOUT, *parts)


def undeclared(document, module, name):
    """The places of a status that no declaration has."""
    known = _declared(module, name)
    new = set(_places(document, "")) - known
    found = {place for place in new if not any(map(_pattern(place).fullmatch, known))}
    known |= new - found
    return sorted(found)


def check_declared(document, module, name):
    """The status of a running program, whose fields must all be declared; that of an earlier version is not checked."""
    if "format" in document and (found := undeclared(document, module, name)):
        pytest.fail(f"fields without a declaration in {module.__name__}: {', '.join(found)}")
    return document


@cache
def _declared(module, name):
    """The declared places, and all others that were found to be one of them."""
    return {place.strip("`") for place, _, _ in rows_of(module, name)}


def _places(value, path):
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _places(below, f"{path}\0{key}" if path else key)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _places(below, f"{path}[]")
    elif value is not None:
        yield path


def _pattern(place):
    """A declared place has `NAME` or `FOLDER` for a name."""
    elements = (f"(?:{re.escape(element)}|NAME{_LIST}|FOLDER)" for element in place.split("\0"))
    return re.compile(r"\.".join(elements))


def rows_of(module, name):
    """A row for each field of a document: its place, its value and its meaning."""
    return list(_Types(module).rows(name, ""))


class _Types:
    def __init__(self, module):
        tree = ast.parse(Path(module.__file__).read_text())
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    def rows(self, name, path):
        for field, annotation, meaning in self._fields(name):
            place = f"{path}.{field}" if path else field
            yield from self._field(place, field, annotation, meaning)

    def _fields(self, name):
        """The fields of a class and of those that it inherits from, each with the text after it."""
        node = self._classes[name]
        own = [
            (at.target.id, at.annotation, _text(after))
            for at, after in _pairs(node.body)
            if isinstance(at, ast.AnnAssign)
        ]
        inherited = [field for base in node.bases if base.id in self._classes for field in self._fields(base.id)]
        # A failure's fields are the last ones, and what a running agent adds as well.
        return [*inherited, *own] if name.startswith("Running") else [*own, *inherited]

    def _field(self, place, field, annotation, meaning):
        kind, otherwise = annotation, ""
        if isinstance(kind, ast.Subscript) and kind.value.id == "NotRequired":
            kind, otherwise = kind.slice, ", or missing"
        if isinstance(kind, ast.BinOp):
            kind, otherwise = kind.left, " or null"
        while isinstance(kind, ast.Subscript) and kind.value.id in {"Sequence", "Mapping"}:
            if kind.value.id == "Sequence":
                place, kind = f"{place}[]", kind.slice
            else:
                place, kind = f"{place}.{_KEYS.get(field, 'NAME')}", kind.slice.elts[1]
        if isinstance(kind, ast.Name) and kind.id in self._classes:
            about = meaning or ast.get_docstring(self._classes[kind.id])
            yield code(place), "object" + otherwise, about
            yield from self.rows(kind.id, place)
        else:
            yield code(place), _value(kind) + otherwise, meaning


def _value(kind):
    if isinstance(kind, ast.Subscript):  # A Literal.
        elements = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        return ", ".join(code(element.value) for element in elements)
    return _KINDS[kind.id]


def _pairs(body):
    return zip(body, [*body[1:], None], strict=True)


def _text(node):
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return " ".join(node.value.value.split()) if is_text else ""
