"""Rules that count: reads, refusals, and what was never read before."""

from collections.abc import Iterator
from typing import Any, Literal

from lessee.config.durations import spell
from lessee.ops.monitor.policy.alerts import Sign
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.interpretation import NOBODY, Kind, shown
from lessee.ops.monitor.policy.rates import OTHER, Window
from lessee.ops.monitor.policy.rules.rule import EVERY, Filter, Gathered, Rule, Seen, place, where

MOST = 1000
"""Subjects that a rule counts; the others together."""
MOST_KNOWN = 5000
"""What has been read by whom, as far as it is remembered."""
_IDLE = 3600.0


class Reads(Rule):
    """More than `limit` reads in the last `within` seconds."""

    kinds = frozenset({Kind.READ})

    def __init__(
        self, name: str, of: Filter, limit: int, within: float, by: Literal["component", "path", "address"]
    ) -> None:
        super().__init__(name)
        self._of, self._limit, self._within, self._by = of, limit, within, by
        self._windows: dict[str, Window] = {}
        self._gathered = Gathered(name, self._say)

    def take(self, seen: Seen) -> None:
        if seen.refused or not self._of.takes(seen):
            return
        subject: str = getattr(seen, self._by)
        window = self._windows.get(subject)
        if window is None:
            window = self._window(subject)
        window.add(seen.at)
        if window.total > self._limit:
            subject = OTHER if window is self._windows.get(OTHER) else subject
            self._gathered.add(subject, seen, window.total)

    def _say(self, subject: str, seen: Seen, count: int) -> str:
        return (
            f"{subject or 'the server itself'}: {count} reads within {spell(self._within)}, more than {self._limit}; "
            f"the last one of {seen.path} by {seen.component} from {place(seen)}"
        )

    def signs(self, world: World) -> Iterator[Sign]:
        if len(self._windows) >= MOST:
            self._windows = {name: window for name, window in self._windows.items() if window.at(world.now)}
        return self._gathered.taken()

    def set_back(self, now: float) -> None:
        for window in self._windows.values():
            window.set_back(now)

    def kept(self) -> Any:
        windows = {name: window.kept() for name, window in self._windows.items() if window.total}
        return {"within": self._within, "by": self._by, "windows": windows}

    def restore(self, kept: Any) -> None:
        if (kept["within"], kept["by"]) == (self._within, self._by):
            for name, window in kept["windows"].items():
                self._window(name).restore(window)

    def _window(self, subject: str) -> Window:
        if len(self._windows) >= MOST and subject != OTHER:
            return self._windows.get(OTHER) or self._window(OTHER)
        window = self._windows[subject] = Window(self._within)
        return window


class Denials(Rule):
    """As many as `limit` refusals of one component, or of one address that has no valid token, and nothing between."""

    kinds = EVERY

    def __init__(self, name: str, of: Filter, limit: int) -> None:
        super().__init__(name)
        self._of, self._limit = of, limit
        self._rows: dict[str, tuple[int, float]] = {}
        self._gathered = Gathered(name, _refusals_said)

    def take(self, seen: Seen) -> None:
        if not seen.refused:
            if self._rows:
                self._rows.pop(seen.component, None)
                if seen.kind is Kind.LOGIN:
                    self._rows.pop(_without_token(seen), None)
            return
        if not self._of.takes(seen):
            return
        subject = _without_token(seen) if seen.component == NOBODY else seen.component
        if subject not in self._rows and len(self._rows) >= MOST:
            subject = OTHER
        count = self._rows.get(subject, (0, 0.0))[0] + 1
        self._rows[subject] = (count, seen.at)
        if count >= self._limit:
            self._gathered.add(subject, seen, count)

    def signs(self, world: World) -> Iterator[Sign]:
        if len(self._rows) >= MOST:
            self._rows = {name: row for name, row in self._rows.items() if world.now - row[1] < _IDLE}
        return self._gathered.taken()

    def set_back(self, now: float) -> None:
        self._rows = {name: (count, min(at, now)) for name, (count, at) in self._rows.items()}

    def kept(self) -> Any:
        return self._rows

    def restore(self, kept: Any) -> None:
        self._rows = {name: (count, at) for name, (count, at) in kept.items()}


class FirstRead(Rule):
    """A component reads what it never has, or from where it never has."""

    kinds = frozenset({Kind.READ})

    def __init__(self, name: str, of: Filter, by: Literal["path", "address"], learn: float) -> None:
        super().__init__(name)
        self._of, self._by, self._learn = of, by, learn
        self._began: float | None = None
        self._known: dict[tuple[str, str], float] = {}
        self._gathered = Gathered(name, self._say)

    def take(self, seen: Seen) -> None:
        if seen.refused or not self._of.takes(seen):
            return
        if self._began is None:
            self._began = seen.at
        what: str = getattr(seen, self._by)
        key = (seen.component, what)
        if key not in self._known and seen.at - self._began >= self._learn:
            self._gathered.add(f"{seen.component}: {what or 'the server itself'}", seen)
        self._known[key] = max(seen.at, self._known.get(key, 0.0))

    def _say(self, _subject: str, seen: Seen, _figure: int) -> str:
        news = "of it" if self._by == "path" else "from this address"
        return f"{seen.component} has read {seen.path}{where(seen)}: the first read {news}"

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        if len(self._known) > MOST_KNOWN:
            # The oldest goes: should it come again, it is told once more.
            newest = sorted(self._known.items(), key=lambda item: -item[1])[: MOST_KNOWN - MOST_KNOWN // 10]
            self._known = dict(newest)
        return self._gathered.taken()

    def set_back(self, now: float) -> None:
        self._began = min(now, self._began or now)
        self._known = {key: min(at, now) for key, at in self._known.items()}

    def kept(self) -> Any:
        return {"by": self._by, "began": self._began, "known": [[*key, at] for key, at in self._known.items()]}

    def restore(self, kept: Any) -> None:
        if kept["by"] == self._by:
            self._began = kept["began"]
            self._known = {(component, what): at for component, what, at in kept["known"]}


def _refusals_said(subject: str, seen: Seen, count: int) -> str:
    asked = f"{shown(seen.operation)} {seen.path}"
    return f"{subject}: {count} refusals in a row; the last one of {asked}{where(seen)}"


def _without_token(seen: Seen) -> str:
    return f"{NOBODY} at {place(seen)}"
