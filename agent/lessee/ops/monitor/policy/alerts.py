"""Turns detections of rules into alerts that fire once, repeat while they last, and resolve.

`step` returns the notifications to send. It knows nothing about the channels that send them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import sha256

from lessee.config.grammar.alerts import Severity
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.monitor.policy.rates import OTHER

MAX_FIRING = 100
"""Alerts of one rule that fire at the same time. Further subjects share one alert."""
RETENTION = 900.0
"""Seconds for which a resolved alert stays in the status and is still sent to Alertmanager."""
_MAX_RESOLVED = 200


class Detection(ImmutableStruct, frozen=True):
    """What a rule has detected, `count` times between two moments, in seconds since 1970."""

    rule: str
    subject: str
    text: str
    first: float
    last: float
    count: int = 1


class AlertSettings(ImmutableStruct, frozen=True):
    """How the alerts of a rule are reported."""

    severity: Severity
    repeat_interval: float
    resolve_timeout: float


class Alert(ImmutableStruct, frozen=True):
    """One subject of a rule."""

    rule: str
    subject: str
    severity: Severity
    text: str
    started_at: float
    last_seen_at: float
    count: int
    notified_at: float
    notifications: int = 1
    resolved_at: float | None = None

    @property
    def firing(self) -> bool:
        """Whether the alert is not resolved yet."""
        return self.resolved_at is None


class NotificationKind(Enum):
    """What a notification says about its alert."""

    FIRING = "firing"
    REPEATED = "repeated"
    """It has fired before, and still does."""
    RESOLVED = "resolved"


class Notification(ImmutableStruct, frozen=True):
    """A message about an alert. A receiver can recognize a duplicate by its `id`."""

    id: str
    kind: NotificationKind
    alert: Alert


Key = tuple[str, str]
"""Rule and subject."""
Alerts = Mapping[Key, Alert]


def step(
    alerts: Alerts,
    detections: Iterable[Detection],
    now: float,
    settings: Mapping[str, AlertSettings],
    *,
    resolve_from: float = 0.0,
) -> tuple[Alerts, tuple[Notification, ...]]:
    """Apply the detections of all rules. `settings` holds those of each rule, by its name.

    No alert resolves before `resolve_from`: after a start, each rule needs time to detect a problem that persists.
    """
    update = _Update(dict(alerts), now, settings)
    for detection in detections:
        update.apply(detection)
    update.resolve(resolve_from)
    return update.alerts, tuple(update.notifications)


def firing(alerts: Alerts) -> list[Alert]:
    """The alerts that fire now, the newest first."""
    return sorted((alert for alert in alerts.values() if alert.firing), key=lambda alert: -alert.started_at)


class _Update:
    def __init__(self, alerts: dict[Key, Alert], now: float, settings: Mapping[str, AlertSettings]) -> None:
        self.alerts, self.now, self.settings = alerts, now, settings
        self.notifications: list[Notification] = []
        self.detected: set[Key] = set()
        self.firing = Counter(alert.rule for alert in alerts.values() if alert.firing)
        """How many alerts of each rule fire."""

    def apply(self, detection: Detection) -> None:
        key, settings = (detection.rule, detection.subject), self.settings[detection.rule]
        known = self.alerts.get(key)
        self.detected.add(key)
        if known is not None and known.firing:
            self._continue(key, known, detection, settings)
        elif detection.subject != OTHER and self.firing[detection.rule] >= MAX_FIRING:
            text = f"and others, such as {detection.subject}: {detection.text}"
            self.apply(replace(detection, subject=OTHER, text=text))
        else:
            started, last = min(detection.first, self.now), min(detection.last, self.now)
            alert = Alert(
                detection.rule,
                detection.subject,
                settings.severity,
                detection.text,
                started,
                last,
                detection.count,
                self.now,
            )
            self.firing[detection.rule] += 1
            self._notify(key, NotificationKind.FIRING, alert)

    def _continue(self, key: Key, known: Alert, detection: Detection, settings: AlertSettings) -> None:
        last = max(min(known.last_seen_at, self.now), min(detection.last, self.now))
        count = known.count + detection.count
        alert = replace(known, text=detection.text, severity=settings.severity, last_seen_at=last, count=count)
        if abs(self.now - known.notified_at) >= settings.repeat_interval:
            alert = replace(alert, notified_at=self.now, notifications=known.notifications + 1)
            self._notify(key, NotificationKind.REPEATED, alert)
        else:
            self.alerts[key] = alert

    def resolve(self, resolve_from: float) -> None:
        for key, alert in list(self.alerts.items()):
            if alert.resolved_at is not None:
                if abs(self.now - alert.resolved_at) >= RETENTION:
                    del self.alerts[key]
                continue
            settings = self.settings.get(alert.rule)
            # A late notification, as after reading a night's log, leaves the same time to look at the alert.
            quiet = self.now - max(min(alert.last_seen_at, self.now), min(alert.notified_at, self.now))
            absent = key not in self.detected and self.now >= resolve_from
            if settings is None or (absent and quiet >= settings.resolve_timeout):
                self._notify(key, NotificationKind.RESOLVED, replace(alert, resolved_at=self.now))
        resolved = sorted(alert.resolved_at for alert in self.alerts.values() if alert.resolved_at is not None)
        if len(resolved) > _MAX_RESOLVED:
            oldest = resolved[-_MAX_RESOLVED]
            self.alerts = {
                key: alert
                for key, alert in self.alerts.items()
                if alert.resolved_at is None or alert.resolved_at >= oldest
            }

    def _notify(self, key: Key, kind: NotificationKind, alert: Alert) -> None:
        self.alerts[key] = alert
        name = f"{alert.rule}\n{alert.subject}\n{alert.started_at:.6f}\n{kind.value}\n{alert.notifications}"
        self.notifications.append(Notification(sha256(name.encode()).hexdigest()[:24], kind, alert))
