"""Turns detections of rules into alerts that fire once, repeat while they last, and resolve.

`step` returns the notifications to send. It knows nothing about the channels that send them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cached_property
from hashlib import sha256

from lessee.config.grammar.alerts import Severity
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.monitor.policy.rates import OTHER

MAX_FIRING = 100
"""Alerts of one rule that fire at the same time. Further subjects share one alert."""
GROUP_WINDOW = 60.0
"""Seconds from an alert's start in which further subjects of its rule join it, if the rule is about requests.

A command such as `lessee setup` changes many policies, and a flood of denials has many clients: each is one alert.
"""
NEXT_GROUP_WINDOW = 300.0
"""The same for an alert that starts while another one of its rule is firing: a flood may last for hours."""
MAX_SUBJECTS = 100
"""Subjects that an alert names."""
RETENTION = 900.0
"""Seconds for which a resolved alert stays in the status and is still sent to Alertmanager."""
_MAX_RESOLVED = 200
_MAX_IN_TEXT = 3


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
    group_window: float = 0.0
    """Seconds from an alert's start in which further subjects join it. 0: each subject has its own alert."""


class Alert(ImmutableStruct, frozen=True):
    """One subject of a rule, and those that joined it: `subject` is the first, and `count` counts all of them."""

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
    subjects: tuple[str, ...] = ()
    """All subjects that it is about, in the order of their detection, up to MAX_SUBJECTS."""
    subjects_omitted: int = 0
    """How many more subjects there are at least."""
    notified_subjects: int = 1
    """How many subjects the last notification was about."""
    opened_at: float = 0.0
    """When the monitor raised it. `started_at` is earlier if the log was read late."""
    group_window: float = 0.0
    """Seconds from `opened_at` in which further subjects join it."""

    @property
    def firing(self) -> bool:
        """Whether the alert is not resolved yet."""
        return self.resolved_at is None

    @property
    def subject_count(self) -> int:
        """How many subjects it is about, at least."""
        return max(1, len(self.subjects)) + self.subjects_omitted


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
    notifications = update.notifications()
    return _without_old(update.alerts), notifications


def firing(alerts: Alerts) -> list[Alert]:
    """The alerts that fire now, the newest first."""
    return sorted((alert for alert in alerts.values() if alert.firing), key=lambda alert: -alert.started_at)


class _Update:
    def __init__(self, alerts: dict[Key, Alert], now: float, settings: Mapping[str, AlertSettings]) -> None:
        self.alerts, self.now, self.settings = alerts, now, settings
        self.kinds: dict[Key, NotificationKind] = {}
        """What to send about each alert, once all of its subjects are known."""
        self.detected: set[Key] = set()
        self.firing = Counter(alert.rule for alert in alerts.values() if alert.firing)
        """How many alerts of each rule fire."""
        self.omitted = Counter[Key]()
        """How many detected subjects each alert does not name."""

    def apply(self, detection: Detection) -> None:
        settings = self.settings[detection.rule]
        key = self._key(detection, settings)
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
                subjects=(detection.subject,),
                opened_at=self.now,
                group_window=self._group_window(settings, detection.rule),
            )
            self.firing[detection.rule] += 1
            self._members[key] = key
            self._notify(key, NotificationKind.FIRING, alert)

    @cached_property
    def _members(self) -> dict[Key, Key]:
        """The firing alert of each subject."""
        return {
            (alert.rule, subject): key
            for key, alert in self.alerts.items()
            if alert.firing
            for subject in alert.subjects or (alert.subject,)
        }

    def _key(self, detection: Detection, settings: AlertSettings) -> Key:
        """The alert of the subject: its own, the one that it joined, or the one that still grows."""
        own = (detection.rule, detection.subject)
        if own in self._members or not settings.group_window:
            return self._members.get(own, own)
        growing = [
            (alert.opened_at, key)
            for key, alert in self.alerts.items()
            if alert.rule == detection.rule and alert.firing and self._grows(alert)
        ]
        return max(growing)[1] if growing else own

    def _grows(self, alert: Alert) -> bool:
        return abs(self.now - alert.opened_at) < alert.group_window

    def _group_window(self, settings: AlertSettings, rule: str) -> float:
        if settings.group_window and self.firing[rule]:
            return max(settings.group_window, NEXT_GROUP_WINDOW)
        return settings.group_window

    def _continue(self, key: Key, known: Alert, detection: Detection, settings: AlertSettings) -> None:
        last = max(min(known.last_seen_at, self.now), min(detection.last, self.now))
        alert = replace(
            self._joined(key, known, detection.subject),
            severity=settings.severity,
            last_seen_at=last,
            count=known.count + detection.count,
        )
        alert = replace(alert, text=_text(alert, detection.text))
        if abs(self.now - known.notified_at) >= settings.repeat_interval:
            self._repeat(key, alert)
        else:
            self.alerts[key] = alert

    def _joined(self, key: Key, alert: Alert, subject: str) -> Alert:
        if self._members.get((alert.rule, subject)) == key:
            return alert
        subjects = alert.subjects or (alert.subject,)
        if len(subjects) < MAX_SUBJECTS:
            self._members[alert.rule, subject] = key
            return replace(alert, subjects=(*subjects, subject))
        # A subject without a name may come again at each evaluation, and is still one.
        self.omitted[key] += 1
        return replace(alert, subjects_omitted=max(alert.subjects_omitted, self.omitted[key]))

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
            elif alert.subject_count > alert.notified_subjects and not self._grows(alert):
                self._repeat(key, alert)

    def _repeat(self, key: Key, alert: Alert) -> None:
        alert = replace(alert, notified_at=self.now, notifications=alert.notifications + 1)
        self._notify(key, NotificationKind.REPEATED, alert)

    def _notify(self, key: Key, kind: NotificationKind, alert: Alert) -> None:
        self.alerts[key], self.kinds[key] = alert, kind

    def notifications(self) -> tuple[Notification, ...]:
        for key in self.kinds:
            self.alerts[key] = replace(self.alerts[key], notified_subjects=self.alerts[key].subject_count)
        return tuple(_notification(kind, self.alerts[key]) for key, kind in self.kinds.items())


def _without_old(alerts: Alerts) -> Alerts:
    resolved = sorted(alert.resolved_at for alert in alerts.values() if alert.resolved_at is not None)
    if len(resolved) <= _MAX_RESOLVED:
        return alerts
    oldest = resolved[-_MAX_RESOLVED]
    return {key: alert for key, alert in alerts.items() if alert.resolved_at is None or alert.resolved_at >= oldest}


def _notification(kind: NotificationKind, alert: Alert) -> Notification:
    name = f"{alert.rule}\n{alert.subject}\n{alert.started_at:.6f}\n{kind.value}\n{alert.notifications}"
    return Notification(sha256(name.encode()).hexdigest()[:24], kind, alert)


def _text(alert: Alert, latest: str) -> str:
    """What the alert says: the latest detection, after the number of its subjects if there are several."""
    if alert.subject_count == 1:
        return latest
    at_least = "at least " if alert.subjects_omitted else ""
    named = ", ".join(alert.subjects[:_MAX_IN_TEXT])
    more = alert.subject_count - _MAX_IN_TEXT
    others = f" and {more} more" if more > 0 else ""
    return f"{at_least}{alert.subject_count} subjects: {named}{others}; the latest: {latest}"
