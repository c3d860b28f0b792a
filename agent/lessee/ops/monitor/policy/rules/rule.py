"""What every rule is: it takes lines, and gives signs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from lessee.config.durations import spell
from lessee.core.immutable import Record
from lessee.ops.monitor.policy.alerts import Sign
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.interpretation import Kind

_MOST_JUDGED = 4096


class Seen(Record, frozen=True):
    """A request, and what it means. `at` is never later than now."""

    at: float
    kind: Kind
    operation: str
    path: str
    """As people call it."""
    component: str
    address: str
    root: bool
    error: str | None
    refused: bool


class Rule(ABC):
    """Each is changed in place, as `rates` is."""

    kinds: ClassVar[frozenset[Kind]] = frozenset()
    """Of these lines it hears."""

    def __init__(self, name: str) -> None:
        self.name = name

    def hears(self, kind: Kind, *, root: bool) -> bool:
        """Whether it wants lines of this kind, with a root token or without one."""
        del root
        return kind in self.kinds

    def take(self, seen: Seen) -> None:  # noqa: B027  # Many look at no lines.
        """A line that it wants."""

    def set_back(self, now: float) -> None:  # noqa: B027  # Many keep no moment.
        """The clock was set back: what it remembers of later than now was never so."""

    @abstractmethod
    def signs(self, world: World) -> Iterator[Sign]:
        """What there is to tell now: of the lines since the last time, and of what is known beside them."""

    def kept(self) -> Any:
        """What it must know after a restart, as JSON."""
        return None

    def restore(self, kept: Any) -> None:  # noqa: B027  # Many know nothing.
        """Of `kept`, of a rule of the same name and kind."""


EVERY = frozenset(Kind)
"""All lines."""


def place(seen: Seen) -> str:
    """Where it came from."""
    return seen.address or "the server itself"


def where(seen: Seen) -> str:
    """The same, at the end of a clause; nothing where nothing is to be said."""
    return f" from {seen.address}" if seen.address else ""


class Filter:
    """Which requests a rule is about: by their path and component, in the words of fnmatch; none: all."""

    def __init__(self, paths: Sequence[str] = (), components: Sequence[str] = ()) -> None:
        self._paths, self._components = paths, components
        self._judged: dict[tuple[str, str], bool] = {}

    def takes(self, seen: Seen) -> bool:
        """Whether it is about this one."""
        if not self._paths and not self._components:
            return True
        key = (seen.path, seen.component)
        found = self._judged.get(key)
        if found is None:
            if len(self._judged) >= _MOST_JUDGED:
                self._judged.clear()
            found = _matches(seen.path, self._paths) and _matches(seen.component, self._components)
            self._judged[key] = found
        return found


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


class Gathered:
    """Signs of lines, one a subject, until they are asked for."""

    def __init__(self, rule: str, say: Callable[[str, Seen, int], str]) -> None:
        """`say`: the text, of a subject, its latest line and a figure; a flood of lines makes few texts."""
        self._rule, self._say = rule, say
        self._signs: dict[str, tuple[Seen, int, float, float, int]] = {}

    def add(self, subject: str, seen: Seen, figure: int = 0) -> None:
        """One more."""
        at = seen.at
        known = self._signs.get(subject)
        first, last, times = (at, at, 0) if known is None else known[2:]
        self._signs[subject] = (seen, figure, min(first, at), max(last, at), times + 1)

    def taken(self) -> Iterator[Sign]:
        """All, once."""
        signs, self._signs = self._signs, {}
        for subject, (seen, figure, first, last, times) in signs.items():
            yield Sign(self._rule, subject, self._say(subject, seen, figure), first, last, times)


def about(seconds: float) -> str:
    """A time in the largest unit of which there are two."""
    for unit in (86400.0, 3600.0, 60.0):
        if seconds >= 2 * unit:
            return spell(seconds // unit * unit)
    return spell(float(max(1, round(seconds))))
