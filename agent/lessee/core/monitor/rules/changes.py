"""Rules about single requests that are rare, and matter each."""

from collections.abc import Iterator

from lessee.core.monitor.alerts import Sign
from lessee.core.monitor.facts import World
from lessee.core.monitor.meaning import Kind, shown
from lessee.core.monitor.rules.rule import Filter, Gathered, Rule, Seen

_DONE = {"delete": "deleted"}


class RootUsed(Rule):
    """A token that may do anything was used."""

    def __init__(self, name: str, of: Filter) -> None:
        super().__init__(name)
        self._of, self._gathered = of, Gathered(name)

    def take(self, seen: Seen) -> None:
        if seen.root and self._of.takes(seen):
            place = seen.address or "the server itself"
            text = f"a root token was used from {place}: {shown(seen.operation)} {seen.path}{_failed(seen)}"
            self._gathered.add(place, text, seen.at)

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        return self._gathered.taken()


class Changed(Rule):
    """Something was changed, or somebody tried."""

    def __init__(self, name: str, of: Filter, kind: Kind) -> None:
        super().__init__(name)
        self._of, self._kind, self._gathered = of, kind, Gathered(name)

    def take(self, seen: Seen) -> None:
        if seen.kind is self._kind and self._of.takes(seen):
            what = _DONE.get(seen.operation, "written") if seen.error is None else f"tried ({shown(seen.operation)})"
            place = seen.address or "the server itself"
            self._gathered.add(
                seen.path, f"{seen.path} was {what} by {seen.component} from {place}{_failed(seen)}", seen.at
            )

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        return self._gathered.taken()


def _failed(seen: Seen) -> str:
    return f"; it failed: {shown(seen.error)}" if seen.error is not None else ""
