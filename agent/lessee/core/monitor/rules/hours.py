"""The rule about reads at a time of the week when nobody should read."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from lessee.core.config.windows import DAY, HOUR, WEEK, Span
from lessee.core.monitor.alerts import Sign
from lessee.core.monitor.facts import World
from lessee.core.monitor.meaning import Kind
from lessee.core.monitor.rules.rule import Filter, Gathered, Rule, Seen


class OutsideHours(Rule):
    """A read outside the spans of the week, by the clocks of a time zone."""

    def __init__(self, name: str, of: Filter, hours: Sequence[Span], zone: tzinfo) -> None:
        super().__init__(name)
        self._of, self._hours, self._zone = of, hours, zone
        self._gathered = Gathered(name)

    def take(self, seen: Seen) -> None:
        if seen.kind is not Kind.READ or seen.refused or not self._of.takes(seen):
            return
        local = datetime.fromtimestamp(seen.at, self._zone)
        if not _within(local, self._hours):
            where = f" from {seen.address}" if seen.address else ""
            text = (
                f"{seen.component} has read {seen.path}{where} on {local:%A at %H:%M} ({self._zone}), outside its hours"
            )
            self._gathered.add(seen.component, text, seen.at)

    def signs(self, world: World) -> Iterator[Sign]:
        del world
        return self._gathered.taken()


def _within(local: datetime, hours: Sequence[Span]) -> bool:
    moment = local.weekday() * DAY + local.hour * HOUR + local.minute * 60.0 + local.second
    return any(begins <= at < ends for begins, ends in hours for at in (moment, moment + WEEK))
