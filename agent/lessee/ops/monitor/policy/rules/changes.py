"""Rules about single requests that are rare, and matter each."""

from collections.abc import Iterator

from lessee.ops.monitor.policy.alerts import Sign
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.interpretation import Kind, shown
from lessee.ops.monitor.policy.rules.rule import Filter, Gathered, Rule, Seen, place

_DONE = {"delete": "deleted"}


class RootUsed(Rule):
    """A token that may do anything was used."""

    def __init__(self, name: str, of: Filter) -> None:
        super().__init__(name)
        self._of, self._gathered = of, Gathered(name, _root_said)

    def hears(self, kind: Kind, *, root: bool) -> bool:
        del kind
        return root

    def take(self, seen: Seen) -> None:
        if self._of.takes(seen):
            self._gathered.add(place(seen), seen)

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        return self._gathered.taken()


class Changed(Rule):
    """Something was changed, or somebody tried."""

    def __init__(self, name: str, of: Filter, kind: Kind) -> None:
        super().__init__(name)
        self._of, self._kind, self._gathered = of, kind, Gathered(name, _change_said)

    def hears(self, kind: Kind, *, root: bool) -> bool:
        del root
        return kind is self._kind

    def take(self, seen: Seen) -> None:
        if self._of.takes(seen):
            self._gathered.add(seen.path, seen)

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        return self._gathered.taken()


def _root_said(_subject: str, seen: Seen, _figure: int) -> str:
    return f"a root token was used from {place(seen)}: {shown(seen.operation)} {seen.path}{_failed(seen)}"


def _change_said(_subject: str, seen: Seen, _figure: int) -> str:
    what = _DONE.get(seen.operation, "written") if seen.error is None else f"tried ({shown(seen.operation)})"
    return f"{seen.path} was {what} by {seen.component} from {place(seen)}{_failed(seen)}"


def _failed(seen: Seen) -> str:
    return f"; it failed: {shown(seen.error)}" if seen.error is not None else ""
