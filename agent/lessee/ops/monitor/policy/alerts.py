"""Alerts: each fires once a subject, is told again while it lasts, and is told to be over.

Rules give signs; `step` makes of them what people are told. It knows nothing of how.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import sha256

from lessee.config.grammar.alerts import Severity
from lessee.core.immutable import Record, replace
from lessee.ops.monitor.policy.rates import OTHER

MOST = 100
"""Subjects of one rule that fire at once; the others are one subject together."""
KEPT = 900.0
"""Seconds for which one that is over is still shown, and Alertmanager still hears that it is."""
_MOST_OVER = 200


class Sign(Record, frozen=True):
    """Something that a rule has seen, `times` between two moments; in seconds since 1970."""

    rule: str
    subject: str
    text: str
    first: float
    last: float
    times: int = 1


class Manner(Record, frozen=True):
    """How a rule's alerts are told."""

    severity: Severity
    again_after: float
    resolve_after: float


class Alert(Record, frozen=True):
    """One subject of a rule."""

    rule: str
    subject: str
    severity: Severity
    text: str
    since: float
    last: float
    """When it was last seen to be so."""
    times: int
    told_at: float
    tellings: int = 1
    over_at: float | None = None

    @property
    def firing(self) -> bool:
        """Whether it is still so."""
        return self.over_at is None


class What(Enum):
    """What is told of an alert."""

    FIRING = "firing"
    AGAIN = "again"
    """It still is."""
    RESOLVED = "resolved"


class Telling(Record, frozen=True):
    """What people are to be told. `id`: whoever gets it twice can see that."""

    id: str
    what: What
    alert: Alert


Key = tuple[str, str]
"""Rule and subject."""
Alerts = Mapping[Key, Alert]


def step(
    alerts: Alerts, signs: Iterable[Sign], now: float, manners: Mapping[str, Manner], *, ends_from: float = 0.0
) -> tuple[Alerts, tuple[Telling, ...]]:
    """Take what the rules have seen. `manners`: of all rules that there are, by name.

    Before `ends_from` none is over: after a start, nobody has had the time yet to see that it still is so.
    """
    turn = _Turn(dict(alerts), now, manners)
    for sign in signs:
        turn.see(sign)
    turn.end(ends_from)
    return turn.alerts, tuple(turn.tellings)


def firing(alerts: Alerts) -> list[Alert]:
    """Those that are so now, the newest first."""
    return sorted((alert for alert in alerts.values() if alert.firing), key=lambda alert: -alert.since)


class _Turn:
    def __init__(self, alerts: dict[Key, Alert], now: float, manners: Mapping[str, Manner]) -> None:
        self.alerts, self.now, self.manners = alerts, now, manners
        self.tellings: list[Telling] = []
        self.seen: set[Key] = set()
        self.firing = Counter(alert.rule for alert in alerts.values() if alert.firing)
        """How many do, of each rule."""

    def see(self, sign: Sign) -> None:
        key, manner = (sign.rule, sign.subject), self.manners[sign.rule]
        known = self.alerts.get(key)
        self.seen.add(key)
        if known is not None and known.firing:
            self._go_on(key, known, sign, manner)
        elif sign.subject != OTHER and self.firing[sign.rule] >= MOST:
            self.see(replace(sign, subject=OTHER, text=f"and others, such as {sign.subject}: {sign.text}"))
        else:
            since, last = min(sign.first, self.now), min(sign.last, self.now)
            alert = Alert(sign.rule, sign.subject, manner.severity, sign.text, since, last, sign.times, self.now)
            self.firing[sign.rule] += 1
            self._tell(key, What.FIRING, alert)

    def _go_on(self, key: Key, known: Alert, sign: Sign, manner: Manner) -> None:
        last = max(min(known.last, self.now), min(sign.last, self.now))
        times = known.times + sign.times
        alert = replace(known, text=sign.text, severity=manner.severity, last=last, times=times)
        if abs(self.now - known.told_at) >= manner.again_after:
            self._tell(key, What.AGAIN, replace(alert, told_at=self.now, tellings=known.tellings + 1))
        else:
            self.alerts[key] = alert

    def end(self, ends_from: float) -> None:
        for key, alert in list(self.alerts.items()):
            if alert.over_at is not None:
                if abs(self.now - alert.over_at) >= KEPT:
                    del self.alerts[key]
                continue
            manner = self.manners.get(alert.rule)
            # Who was told late, as after a night's log, shall be able to look before it is said to be over.
            quiet = self.now - max(min(alert.last, self.now), min(alert.told_at, self.now))
            silent = key not in self.seen and self.now >= ends_from
            if manner is None or (silent and quiet >= manner.resolve_after):
                self._tell(key, What.RESOLVED, replace(alert, over_at=self.now))
        over = sorted(alert.over_at for alert in self.alerts.values() if alert.over_at is not None)
        if len(over) > _MOST_OVER:
            oldest = over[-_MOST_OVER]
            self.alerts = {
                key: alert for key, alert in self.alerts.items() if alert.over_at is None or alert.over_at >= oldest
            }

    def _tell(self, key: Key, what: What, alert: Alert) -> None:
        self.alerts[key] = alert
        name = f"{alert.rule}\n{alert.subject}\n{alert.since:.6f}\n{what.value}\n{alert.tellings}"
        self.tellings.append(Telling(sha256(name.encode()).hexdigest()[:24], what, alert))
