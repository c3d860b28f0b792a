"""Allocates Jinja names for the variables of a Go template; in Jinja, only loops have scopes."""

from collections.abc import Collection

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import GO_TEXT, PRIMARY, Expr, Joined
from lessee.ops.migrate.policy.jinja.values import Value
from lessee.rendering.references import FUNCTIONS

_RESERVED = frozenset((*FUNCTIONS, GO_TEXT, "scratch")) | frozenset(
    "and block break call caller continue cycler dict do elif else extends false False filter for from if import in"  # noqa: SIM905
    " include is joiner kwargs loop macro namespace none None not or range recursive scoped self set super true True"
    " varargs with".split()
)

# Limits of inlined values: a variable that contains itself twice would double with each assignment.
_MAX_LENGTH, _MAX_PARTS = 1000, 10


class Identifiers:
    """The names in use. `assigned`: the variables with a later assignment, each of which needs a namespace."""

    def __init__(self, assigned: Collection[str]) -> None:
        self.assigned = assigned
        self._allocated: list[tuple[str, str, int]] = []
        self._names: set[str] = set()
        self._last: dict[str, int] = {}
        self._namespaces: set[str] = set()

    def allocate(self, preferred: str) -> str:
        """A free name: the preferred one, with a number if it is in use."""
        base = preferred if preferred.isidentifier() and preferred not in _RESERVED else f"{preferred}_"
        base = base if base.isidentifier() else "value"
        number = self._last.get(base, 0) + 1
        while (name := base if number == 1 else f"{base}_{number}") in self._names:
            number += 1
        self._last[base] = number
        self._names.add(name)
        self._allocated.append((name, base, number))
        return name

    @property
    def names(self) -> Collection[str]:
        """The names in use."""
        return ("scratch", *self._names)

    def checkpoint(self) -> int:
        """The current state, for `release` at the end of a loop."""
        return len(self._allocated)

    def release(self, checkpoint: int) -> None:
        """Free the names that were allocated since."""
        while len(self._allocated) > checkpoint:
            name, base, number = self._allocated.pop()
            self._names.remove(name)
            self._last[base] = number - 1

    def define(self, preferred: str, value: Expr) -> tuple[str, str, str]:
        """A new variable: its name, the expression that it is set to, and the expression that reads it."""
        name = self.allocate(preferred)
        if preferred not in self.assigned:
            return name, value.text, name
        self._namespaces.add(name)
        return name, f"namespace(value={value.text})", f"{name}.value"

    def can_inline(self, value: Value) -> bool:
        """Whether the value can replace its variable everywhere: it is short, and does not change."""
        if isinstance(value, Constant) and isinstance(value.value, str):
            return len(value.value) <= _MAX_LENGTH
        if isinstance(value, Expr):
            changes = any(f"{name}.value" in value.text for name in self._namespaces)
            return len(value.text) <= _MAX_LENGTH and value.precedence == PRIMARY and not changes
        if isinstance(value, Joined):
            return len(value.parts) <= _MAX_PARTS and all(self.can_inline(part) for part in value.parts)
        return True
