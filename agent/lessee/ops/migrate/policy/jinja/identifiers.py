"""What the variables of a Go template are called in Jinja, whose blocks but for loops are no scopes."""

from collections.abc import Collection

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import PRIMARY, Expr, Joined
from lessee.ops.migrate.policy.jinja.values import Value
from lessee.rendering.references import FUNCTIONS

_RESERVED = frozenset(FUNCTIONS) | frozenset(
    "and block break call caller continue cycler dict do elif else extends false False filter for from if import in"  # noqa: SIM905
    " include is joiner kwargs loop macro namespace none None not or range recursive scoped self set super true True"
    " varargs with".split()
)

# Of what stands for itself wherever its variable does: one that is made of itself twice would double each time.
_LONGEST, _MOST = 1000, 10


class Naming:
    """Names in use. `assigned` are the variables that are set again later: they live in a namespace each."""

    def __init__(self, assigned: Collection[str]) -> None:
        self.assigned = assigned
        self._taken: list[tuple[str, str, int]] = []
        self._names: set[str] = set()
        self._last: dict[str, int] = {}
        self._spaces: set[str] = set()

    def take(self, wanted: str) -> str:
        """A name like the wanted one that nothing else has now."""
        base = wanted if wanted.isidentifier() and wanted not in _RESERVED else f"{wanted}_"
        base = base if base.isidentifier() else "value"
        number = self._last.get(base, 0) + 1
        while (name := base if number == 1 else f"{base}_{number}") in self._names:
            number += 1
        self._last[base] = number
        self._names.add(name)
        self._taken.append((name, base, number))
        return name

    def mark(self) -> int:
        """To be given to `release` at a loop's end."""
        return len(self._taken)

    def release(self, mark: int) -> None:
        """The names that were taken since are free."""
        while len(self._taken) > mark:
            name, base, number = self._taken.pop()
            self._names.remove(name)
            self._last[base] = number - 1

    def define(self, wanted: str, value: Expr) -> tuple[str, str, str]:
        """A new variable's name, what it is set to, and how it is read."""
        name = self.take(wanted)
        if wanted not in self.assigned:
            return name, value.text, name
        self._spaces.add(name)
        return name, f"namespace(value={value.text})", f"{name}.value"

    def is_plain(self, value: Value) -> bool:
        """Whether it is short, and stays what it is: then it can stand wherever its variable does."""
        if isinstance(value, Constant) and isinstance(value.value, str):
            return len(value.value) <= _LONGEST
        if isinstance(value, Expr):
            changes = any(f"{name}.value" in value.text for name in self._spaces)
            return len(value.text) <= _LONGEST and value.level == PRIMARY and not changes
        if isinstance(value, Joined):
            return len(value.parts) <= _MOST and all(self.is_plain(part) for part in value.parts)
        return True
