"""Applies the rules to log entries and service statuses, and returns the notifications to send."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from lessee.ops.monitor.policy import alerts as alerting
from lessee.ops.monitor.policy.access import Access, LogEntry
from lessee.ops.monitor.policy.alerts import Alert, Notification
from lessee.ops.monitor.policy.classification import (
    RequestKind,
    classify,
    component,
    is_denied,
    printable,
    secret_path,
)
from lessee.ops.monitor.policy.history import History
from lessee.ops.monitor.policy.messages import alert_view
from lessee.ops.monitor.policy.rates import Rates
from lessee.ops.monitor.policy.rules import RuleSet
from lessee.ops.monitor.policy.rules.rule import Request
from lessee.ops.monitor.policy.service_status import Snapshot
from lessee.ops.monitor.policy.timestamps import rfc3339

RESTART_GRACE = 60.0
"""Seconds after a restart in which no alert resolves: rules first have to detect what persists."""
_MAX_CLOCK_SKEW = 300.0
"""A server's clock may be this far ahead of ours. A later time is taken as now."""


class AlertEngine:
    """The rules with their state, changed in place as `rates` is. `now` is in seconds since 1970."""

    def __init__(self, rule_set: RuleSet) -> None:
        self._rules, self._settings = rule_set.rules, rule_set.settings
        self._history = History()
        self._alerts: alerting.Alerts = {}
        self._rates = Rates()
        self._started_at: float | None = None
        self._evaluated_at, self._grace = 0.0, 0.0
        self._rules_of = {
            (kind, root): tuple(rule for rule in rule_set.rules if rule.matches(kind, root=root))
            for kind in RequestKind
            for root in (False, True)
        }

    @property
    def alerts(self) -> alerting.Alerts:
        """The alerts that fire, and those that resolved recently."""
        return self._alerts

    def take(self, entries: Iterable[LogEntry], now: float) -> None:
        """Count log entries, and pass them to the rules, in the log's order."""
        for entry in entries:
            access = entry.access
            kind = classify(access.operation, access.path, access.local_mount, access.mount_type)
            at = access.at if access.at <= now + _MAX_CLOCK_SKEW else now
            if entry.is_history:
                self._history.take(at)
            denied = is_denied(access, kind)
            if denied:
                self._rates.add_denial(at)
            elif kind is RequestKind.READ:
                self._rates.add_read(_path(access), component(access), printable(access.address), at)
            rules = self._rules_of[kind, access.root]
            if rules:
                request = _request(access, kind, at, denied=denied)
                for rule in rules:
                    rule.take(request)

    def evaluate(self, snapshot: Snapshot) -> tuple[Notification, ...]:
        """Evaluate all rules. Returns the notifications to send now."""
        now = snapshot.now
        self._started_at = now if self._started_at is None else min(self._started_at, now)
        if now < self._evaluated_at - _MAX_CLOCK_SKEW:
            self._rates.on_clock_set_back(now)
            for rule in self._rules:
                rule.on_clock_set_back(now)
        self._evaluated_at = now
        self._rates.prune(now)
        detections = self._history.without_past(
            [detection for rule in self._rules for detection in rule.evaluate(snapshot)]
        )
        if all(source.idle or (source.last_at or 0.0) > self._history.until for source in snapshot.sources):
            summary = self._history.summary()
            detections += [summary] if summary is not None else []
        self._alerts, notifications = alerting.step(
            self._alerts, detections, now, self._settings, resolve_from=self._started_at + self._grace
        )
        return notifications

    def state(self) -> Any:
        """What a restart must preserve, as JSON."""
        return {
            "at": self._evaluated_at,
            "alerts": [msgspec.to_builtins(alert) for alert in self._alerts.values()],
            "rates": self._rates.state(),
            "history": self._history.state(),
            "rules": {rule.name: [type(rule).__name__, rule.state()] for rule in self._rules},
        }

    def restore(self, state: Any) -> None:
        """Take over `state`. The state of a removed rule is dropped, and its alerts resolve at the next evaluation."""
        alerts = [msgspec.convert(alert, Alert) for alert in state["alerts"]]
        self._alerts = {(alert.rule, alert.subject): alert for alert in alerts}
        self._evaluated_at, self._grace = float(state["at"]), RESTART_GRACE
        self._rates.restore(state["rates"])
        if "history" in state:
            self._history.restore(state["history"])
        for rule in self._rules:
            type_name, rule_state = state["rules"].get(rule.name, ("", None))
            if type_name == type(rule).__name__:
                rule.restore(rule_state)

    def status(self, now: float) -> Mapping[str, Any]:
        """The parts `accesses` and `alerts` of status.json."""
        accesses = self._rates.view(now)
        rows = [{**row, "last_at": rfc3339(row["last_at"])} for row in accesses["by_path"]]
        ordered = sorted(self._alerts.values(), key=lambda alert: (not alert.firing, -alert.started_at))
        alerts = [{**alert_view(alert), "firing": alert.firing} for alert in ordered]
        return {"accesses": {**accesses, "by_path": rows}, "alerts": alerts}


def _path(access: Access) -> str:
    return secret_path(access.path, access.local_mount, access.mount_type, access.namespace)


def _request(access: Access, kind: RequestKind, at: float, *, denied: bool) -> Request:
    return Request(
        at,
        kind,
        access.operation,
        _path(access),
        component(access),
        printable(access.address),
        access.root,
        access.error,
        denied,
        access.accessor,
    )
