"""What the variables of a Go template are called in Jinja, whose blocks but for loops are no scopes."""

from collections.abc import Collection

from lessee.core.importing.jinja.expressions import PRIMARY, Expr, Joined
from lessee.core.importing.jinja.values import Value
from lessee.core.rendering.needs import FUNCTIONS

_RESERVED = frozenset(FUNCTIONS) | frozenset(
    "and block break call caller continue cycler dict do elif else extends false False filter for from if import in"  # noqa: SIM905
    " include is joiner kwargs loop macro namespace none None not or range recursive scoped self set super true True"
    " varargs with".split()
)


class Naming:
    """Names in use. `assigned` are the variables that are set again later: they live in a namespace each."""

    def __init__(self, assigned: Collection[str]) -> None:
        self.assigned = assigned
        self._taken: list[str] = []
        self._spaces: set[str] = set()

    def take(self, wanted: str) -> str:
        """A name like the wanted one that nothing else has now."""
        base = wanted if wanted.isidentifier() and wanted not in _RESERVED else f"{wanted}_"
        base = base if base.isidentifier() else "value"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.append(name)
        return name

    def mark(self) -> int:
        """To be given to `release` at a loop's end."""
        return len(self._taken)

    def release(self, mark: int) -> None:
        """The names that were taken since are free."""
        del self._taken[mark:]

    def define(self, wanted: str, value: Expr) -> tuple[str, str, str]:
        """A new variable's name, what it is set to, and how it is read."""
        name = self.take(wanted)
        if wanted not in self.assigned:
            return name, value.text, name
        self._spaces.add(name)
        return name, f"namespace(value={value.text})", f"{name}.value"

    def is_plain(self, value: Value) -> bool:
        """Whether it is short, and stays what it is: then it can stand wherever its variable does."""
        if isinstance(value, Expr):
            return value.level == PRIMARY and not any(f"{name}.value" in value.text for name in self._spaces)
        if isinstance(value, Joined):
            return all(self.is_plain(part) for part in value.parts)
        return True
