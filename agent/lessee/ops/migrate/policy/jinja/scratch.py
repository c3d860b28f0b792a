"""Translates consul-template's `scratch`, a store of values that lasts as long as a rendering, to a namespace."""

import re
from collections.abc import Sequence

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import (
    AND,
    COMPARE,
    FILTER,
    LIST,
    PRIMARY,
    TRUTH,
    Expr,
    UnsupportedError,
)
from lessee.ops.migrate.policy.jinja.fragments import Tag
from lessee.ops.migrate.policy.jinja.values import Value, to_expr

SETTERS = frozenset({"Set", "SetX", "MapSet", "MapSetX"})
"""The methods that store something, and that have no output."""

_EMPTY = " | default(dict())"


class Scratch:
    """The attributes of the namespace, by the keys of the scratch."""

    def __init__(self) -> None:
        self._attributes: dict[str, str] = {}

    def read(self, method: str, arguments: Sequence[Value]) -> Expr:
        """The result of a method. Raises UnsupportedError."""
        match method, arguments:
            case "Get", [key]:
                name = self._attribute(key)
                return Expr(name, PRIMARY, optional=Expr(f"{name} is defined and {name}", AND))
            case "Key", [key]:
                return Expr(f"{self._attribute(key)} is defined", COMPARE, TRUTH)
            case "MapValues", [key]:
                values = f'{self._attribute(key)}{_EMPTY} | dictsort(true) | map("last") | list'
                return Expr(values, FILTER, LIST)
            case _:
                raise UnsupportedError(f"scratch has no method {method} with these arguments", "correct the call")

    def store(self, method: str, arguments: Sequence[Value]) -> Sequence[Tag]:
        """The statements for one of SETTERS. Raises UnsupportedError."""
        match method, arguments:
            case (("Set" | "SetX"), [key, value]):
                name = self._attribute(key)
                tag = Tag(f"set {name} = {to_expr(value).text}")
                return [tag] if method == "Set" else [Tag(f"if {name} is not defined"), tag, Tag("endif")]
            case (("MapSet" | "MapSetX"), [key, inner, value]):
                name = self._attribute(key)
                old, new = f"{name}{_EMPTY}", f"{{{to_expr(inner).text}: {to_expr(value).text}}}"
                first, last = (old, new) if method == "MapSet" else (new, f"({old})")
                return [Tag(f"set {name} = dict({first}, **{last})")]
            case _:
                raise UnsupportedError(f"scratch.{method} has other arguments than it takes", "correct the call")

    @property
    def definition(self) -> Sequence[Tag]:
        """What must stand before the first use; empty if the template does not use the scratch."""
        return [Tag("set scratch = namespace()")] if self._attributes else []

    def _attribute(self, key: Value) -> str:
        if not isinstance(key, Constant) or not isinstance(key.value, str):
            raise UnsupportedError("a key of scratch is computed", "write the key as a literal")
        base = re.sub("[^A-Za-z0-9_]", "_", key.value).strip("_") or "value"
        while base in self._attributes.values() and key.value not in self._attributes:
            base += "_"
        name = self._attributes.setdefault(key.value, base if base[0].isalpha() else f"x{base}")
        return f"scratch.{name}"
