"""Rules about those of whom nothing is heard."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lessee.ops.monitor.policy.alerts import Sign
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.interpretation import Kind, shown
from lessee.ops.monitor.policy.rules.rule import Rule, Seen, about

MOST = 1000
"""Components that are expected to ask."""
_REGULAR = 5
"""Who has asked for so many times `after`, and never paused for so long, is expected to go on."""
_FORGOTTEN = 7 * 86400.0


class AuditOff(Rule):
    """A source cannot be read for `after` seconds, or says nothing for `silent_after`."""

    def __init__(self, name: str, after: float, silent_after: float | None) -> None:
        super().__init__(name)
        self._after, self._silent_after = after, silent_after
        self._since: dict[str, float] = {}
        self._first: dict[str, float] = {}

    def signs(self, world: World) -> Iterator[Sign]:
        for source in world.sources:
            if source.error is None:
                self._since.pop(source.name, None)
                yield from self._silent(source.name, source.last_at, world.now)
                continue
            since = self._since.setdefault(source.name, world.now)
            if world.now - since >= self._after:
                text = f"the audit log {source.name} cannot be read: {source.error}"
                yield Sign(self.name, source.name, text, since, world.now)

    def _silent(self, name: str, last_at: float | None, now: float) -> Iterator[Sign]:
        last = self._first.setdefault(name, now) if last_at is None else last_at
        if self._silent_after is not None and now - last >= self._silent_after:
            text = f"the audit log {name} has said nothing for {about(now - last)}"
            yield Sign(self.name, name, text, last, now)

    def set_back(self, now: float) -> None:
        self._since = {name: min(at, now) for name, at in self._since.items()}
        self._first = {name: min(at, now) for name, at in self._first.items()}

    def kept(self) -> Any:
        return self._since

    def restore(self, kept: Any) -> None:
        self._since = dict(kept)


class AgentSilent(Rule):
    """A service does not answer for `after` seconds, or a component that asked regularly does not any more."""

    def __init__(self, name: str, after: float, components: Sequence[str]) -> None:
        super().__init__(name)
        self._after, self._expected = after, components
        self._since: dict[str, float] = {}
        self._asked: dict[str, tuple[float, float]] = {}
        """From when to when each has asked without a pause."""
        self._read_to = 0.0

    def hears(self, kind: Kind, *, root: bool) -> bool:
        del kind, root
        return bool(self._expected)

    def take(self, seen: Seen) -> None:
        self._read_to = max(self._read_to, seen.at)
        known = self._asked.get(seen.component)
        if known is None:
            if len(self._asked) >= MOST or not any(fnmatchcase(seen.component, one) for one in self._expected):
                return
            known = (seen.at, seen.at)
        begins = known[0] if seen.at - known[1] < self._after else seen.at
        self._asked[seen.component] = (min(begins, seen.at), max(known[1], seen.at))

    def signs(self, world: World) -> Iterator[Sign]:
        for name, answer in world.answers.items():
            if answer.error is None:
                self._since.pop(name, None)
                continue
            since = self._since.setdefault(name, answer.at)
            if world.now - since >= self._after:
                text = f"{name} has not answered for {about(world.now - since)}: {shown(answer.error)}"
                yield Sign(self.name, name, text, since, world.now)
        # By the log's own time: where it is read late, or Vault is away, nobody is silent.
        for name, (begins, ends) in list(self._asked.items()):
            quiet = self._read_to - ends
            if quiet >= _FORGOTTEN:
                del self._asked[name]
            elif quiet >= self._after and ends - begins >= self._after * _REGULAR:
                text = f"{name} asked Vault regularly, and has not for {about(quiet)}"
                yield Sign(self.name, name, text, ends, world.now)

    def set_back(self, now: float) -> None:
        self._since = {name: min(at, now) for name, at in self._since.items()}
        self._read_to = min(self._read_to, now)
        self._asked = {name: (min(begins, now), min(ends, now)) for name, (begins, ends) in self._asked.items()}

    def kept(self) -> Any:
        return {"since": self._since, "asked": self._asked, "read_to": self._read_to}

    def restore(self, kept: Any) -> None:
        self._since, self._read_to = dict(kept["since"]), kept["read_to"]
        self._asked = {name: (begins, ends) for name, (begins, ends) in kept["asked"].items()}
