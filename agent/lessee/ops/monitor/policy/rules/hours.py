"""The rule about reads at a time of the week when nobody should read."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from lessee.config.time_windows import DAY, HOUR, WEEK, Span
from lessee.ops.monitor.policy.alerts import Sign
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.interpretation import Kind
from lessee.ops.monitor.policy.rules.rule import Filter, Gathered, Rule, Seen, where


class OutsideHours(Rule):
    """A read outside the spans of the week, by the clocks of a time zone."""

    kinds = frozenset({Kind.READ})

    def __init__(self, name: str, of: Filter, hours: Sequence[Span], zone: tzinfo) -> None:
        super().__init__(name)
        self._of, self._hours, self._zone = of, hours, zone
        self._minute, self._is_open = -1.0, True
        self._gathered = Gathered(name, self._say)

    def take(self, seen: Seen) -> None:
        if seen.refused or not self._of.takes(seen):
            return
        minute = seen.at // 60.0
        if minute != self._minute:
            # No window begins or ends in the middle of one.
            self._minute, self._is_open = minute, _within(datetime.fromtimestamp(seen.at, self._zone), self._hours)
        if not self._is_open:
            self._gathered.add(seen.component, seen)

    def _say(self, _subject: str, seen: Seen, _figure: int) -> str:
        local = datetime.fromtimestamp(seen.at, self._zone)
        when = f"on {local:%A at %H:%M} ({self._zone})"
        return f"{seen.component} has read {seen.path}{where(seen)} {when}, outside its hours"

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        return self._gathered.taken()


def _within(local: datetime, hours: Sequence[Span]) -> bool:
    moment = local.weekday() * DAY + local.hour * HOUR + local.minute * 60.0 + local.second
    return any(begins <= at < ends for begins, ends in hours for at in (moment, moment + WEEK))
