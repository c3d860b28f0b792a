"""Binds alerts to responses: orders what they cause, and tells with each alert what was done."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from lessee.config.grammar.responses import AnyResponse, Responses, RevokeToken
from lessee.config.monitor import STRIKES, response_name, tag_of
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import wall_time
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.alerts import Alert, Alerts, Notification, NotificationKind
from lessee.ops.monitor.policy.evidence import MAX_AGE, Evidence
from lessee.ops.monitor.policy.response_log import Record, latest, pending, request_text, sentence, used
from lessee.ops.monitor.policy.rules import effective_rules
from lessee.ops.monitor.policy.timestamps import rfc3339
from lessee.ops.monitor.responses.worker import Order, Outcome, ResponseWorker
from lessee.ops.monitor.wiring import ActiveConfig
from lessee.vault.service_logins import ServiceLogins

_HOLD = 10.0
"""Seconds for which an alert waits for its response, so that one message has both."""
_RETRY_INTERVAL = 60.0
_CLOSE_TIMEOUT = 5.0
_MAX_SENTENCES = 5
_MAX_SHOWN = 100
_MAX_REMEMBERED = 5000

_Key = tuple[str, str]
"""Rule and subject of an alert."""
_Identity = tuple[object, ...]
"""Of an order."""


class _Held(ImmutableStruct, frozen=True):
    """A notification that waits for its response until a moment."""

    until: float
    notification: Notification


class ResponseSink:
    """The responses of one configuration. Only the loop's thread calls it, except `status`."""

    name = "responses"

    def __init__(
        self, active: ActiveConfig, config: Responses, environ: Mapping[str, str], logins: ServiceLogins
    ) -> None:
        monitor = active.monitor
        self._responses: dict[str, AnyResponse] = {response_name(one): one for one in config.actions}
        self._by_rule: dict[str, list[str]] = {}
        # Once a token is revoked, Vault does not say any more which role it had.
        for name, response in sorted(self._responses.items(), key=lambda item: isinstance(item[1], RevokeToken)):
            self._by_rule.setdefault(response.rule, []).append(name)
        rules = effective_rules(monitor.alerts, polls_services=bool(monitor.watch))
        self._evidence = Evidence({name: rules[name] for name in self._by_rule if name in rules}, ZoneInfo)
        self._worker = ResponseWorker(active, config, environ, logins)
        self._approvers = sorted(config.approvers)
        self._open: dict[_Identity, _Key] = {}
        """The alert of each order that is not answered yet."""
        self._settled: dict[_Identity, float] = {}
        """When an answered order may be given again."""
        self._refusals: dict[_Key, dict[_Identity, str]] = {}
        """Why something was not done because of an alert."""
        self._followed: set[tuple[str, str, float]] = set()
        """The alerts whose receivers were notified later that a response cannot run: once is enough."""
        self._held: list[_Held] = []
        self._indexed: tuple[Sequence[Record], Mapping[tuple[str, str, float], list[Record]]] = ((), {})

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        self._evidence.take((entry.access for entry in entries), wall_time())

    def tick(self, now: float) -> None:
        """See Sink. `follow` acts, when the rules are evaluated."""

    def follow(self, alerts: Alerts, notifications: Sequence[Notification], now: float) -> tuple[Notification, ...]:
        """Order what these alerts cause, and return the notifications to send now, with what was done."""
        late = self._collect(alerts, now)
        firing = [alert for alert in alerts.values() if alert.firing and now - MAX_AGE < alert.last_seen_at]
        self._refusals = {key: texts for key, texts in self._refusals.items() if key in alerts}
        self._followed = {one for one in self._followed if one[:2] in alerts}
        for order in self._orders(firing, now):
            self._open[order.identity] = (order.rule, order.subject)
            self._worker.submit(order)
        return tuple(self._release(notifications, late, now))

    def annotated(self, alerts: Alerts) -> Alerts:
        """The alerts with what was done because of them."""
        return {key: self.annotate(alert) for key, alert in alerts.items()}

    def annotate(self, alert: Alert) -> Alert:
        """The alert with what was done because of it."""
        found = self.sentences(alert)
        if len(found) > _MAX_SENTENCES:
            found = [*found[:_MAX_SENTENCES], f"and {len(found) - _MAX_SENTENCES} more in the status"]
        # The names in the alert's own text are clients', and no client can write a line of its own.
        return replace(alert, text="\n".join([alert.text, *found]))

    def sentences(self, alert: Alert) -> list[str]:
        """What was done because of an alert, and what was not."""
        if alert.rule not in self._by_rule:
            return []
        now = wall_time()
        mine = self._by_alert().get((alert.rule, alert.subject, alert.started_at), ())
        found = [sentence(one, now) for one in mine]
        refusals = Counter(self._refusals.get((alert.rule, alert.subject), {}).values())
        found += [f"{text} ({count} times)" if count > 1 else text for text, count in refusals.items()]
        found += [
            f"{name} cannot run: {self._worker.failures[name]}"
            for name in self._by_rule[alert.rule]
            if name in self._worker.failures and not any(text.startswith(f"{name} failed: ") for text in refusals)
        ]
        strikes = any(tag_of(self._responses[name]) in STRIKES for name in self._by_rule[alert.rule])
        if not found and strikes and not any(rule == alert.rule for rule, _ in self._open.values()):
            found.append("no response: no token is known to have done this by itself")
        return found

    def holds(self, rule: str, subject: str) -> bool:
        """Whether an alert waits for its response, and so was not sent yet."""
        return any(
            (one.notification.alert.rule, one.notification.alert.subject) == (rule, subject) for one in self._held
        )

    def state(self) -> Any:
        """The notifications that wait for their response."""
        return {"held": [msgspec.to_builtins(held.notification) for held in self._held]}

    def restore(self, state: Any) -> None:
        """See Sink."""
        try:
            held = msgspec.convert(state["held"], tuple[Notification, ...])
        except (TypeError, KeyError, msgspec.ValidationError):
            raise ValueError from None
        self._held = [_Held(0.0, notification) for notification in held]

    def status(self) -> Mapping[str, Any]:
        """`responses`: the budgets, what waits for an approval, and what was done."""
        records, now = self._worker.records, wall_time()
        failures, problem = self._worker.failures, self._worker.problem
        budgets = {
            name: {
                "rule": response.rule,
                "action": tag_of(response),
                "max_per_hour": response.max_per_hour,
                "used": used(records, name, now),
                "dry_run": response.dry_run,
                "error": failures.get(name) or problem,
            }
            for name, response in self._responses.items()
        }
        waiting = [
            {
                **_view(one, now),
                "expires_at": rfc3339(one.expires_at),
                "request": request_text(one),
                "approvers": self._approvers,
                "command": f"lessee monitor approve {one.id}",
                "rejected": self._worker.rejections.get(one.id),
            }
            for one in pending(records, now)
        ]
        recent = [_view(one, now) for one in reversed(list(latest(records).values())[-_MAX_SHOWN:])]
        problems = [f"nothing responds to alerts: {problem}"] if problem is not None else []
        problems += [f"the response {name} cannot run: {reason}" for name, reason in sorted(failures.items())]
        return {"responses": {"budgets": budgets, "pending": waiting, "recent": recent}, "problems": problems}

    def close(self) -> None:
        """See Sink."""
        self._worker.close(_CLOSE_TIMEOUT)

    def _by_alert(self) -> Mapping[tuple[str, str, float], list[Record]]:
        """The newest record of each response, by rule, subject and start of its alert."""
        records, index = self._indexed
        if records is not self._worker.records:
            records, index = self._worker.records, {}
            for one in latest(records).values():
                index.setdefault((one.rule, one.subject, one.alert_at), []).append(one)
            self._indexed = records, index
        return index

    def _orders(self, firing: Sequence[Alert], now: float) -> Iterator[Order]:
        """What these alerts cause and is not ordered yet."""
        by_rule: dict[str, dict[str, Alert]] = {}
        for alert in firing:
            by_rule.setdefault(alert.rule, {}).update(dict.fromkeys(_subjects_of(alert), alert))
        for rule, alerts in by_rule.items():
            for name in self._by_rule.get(rule, ()):
                if tag_of(self._responses[name]) in STRIKES:
                    yield from self._strikes(name, rule, alerts, now)
                    continue
                for alert in {id(one): one for one in alerts.values()}.values():
                    order = Order(name, rule, alert.subject, alert.started_at, alert.text)
                    if self._is_due(order.identity, now):
                        yield order

    def _strikes(self, name: str, rule: str, alerts: Mapping[str, Alert], now: float) -> Iterator[Order]:
        for suspect in self._evidence.suspects(rule, alerts, now):
            if self._is_due((name, suspect.accessor), now):
                # The alert that names it, or else one of those that the rule raised meanwhile.
                subject = next((label for label in suspect.labels if label in alerts), next(iter(alerts)))
                about = alerts[subject]
                yield Order(name, rule, about.subject, about.started_at, "", suspect.accessor)

    def _is_due(self, identity: _Identity, now: float) -> bool:
        # A clock that was set back must not postpone it for long.
        return identity not in self._open and not now < self._settled.get(identity, 0.0) <= now + MAX_AGE

    def _collect(self, alerts: Alerts, now: float) -> list[Notification]:
        """Take the worker's outcomes. Returns further notifications for alerts that were sent before."""
        late = []
        held = {(one.notification.alert.rule, one.notification.alert.subject) for one in self._held}
        while not self._worker.outcomes.empty():
            outcome: Outcome = self._worker.outcomes.get()
            order = outcome.order
            key = (order.rule, order.subject)
            self._open.pop(order.identity, None)
            self._settled[order.identity] = now + (_RETRY_INTERVAL if outcome.retry else MAX_AGE)
            refusals = self._refusals.setdefault(key, {})
            refusals.pop(order.identity, None)
            if not outcome.final:
                refusals[order.identity] = outcome.text
            alert = alerts.get(key)
            if alert is None or key in held or not outcome.text:
                continue
            if outcome.final:
                late.append(_follow_up(alert, outcome.text))
            elif order.response in self._worker.failures and (*key, alert.started_at) not in self._followed:
                self._followed.add((*key, alert.started_at))
                late.append(_follow_up(alert, outcome.text))
        if len(self._settled) > _MAX_REMEMBERED:
            self._settled = {identity: until for identity, until in self._settled.items() if until > now}
        return late

    def _release(
        self, notifications: Sequence[Notification], late: Sequence[Notification], now: float
    ) -> Iterator[Notification]:
        for notification in notifications:
            if notification.alert.rule in self._by_rule:
                self._held.append(_Held(now + _HOLD, notification))
            else:
                yield notification
        waiting = set(self._open.values())
        held, self._held = self._held, []
        kept: set[_Key] = set()
        for one in held:
            alert = one.notification.alert
            key = (alert.rule, alert.subject)
            # Those of one alert keep their order, and a clock that was set back holds none for long.
            if key in waiting and now < one.until <= now + _HOLD and one.notification.kind is not _RESOLVED:
                self._held.append(one)
                kept.add(key)
            elif key in kept:
                self._held.append(one)
            else:
                yield replace(one.notification, alert=self.annotate(alert))
        for notification in late:
            yield replace(notification, alert=self.annotate(notification.alert))


_RESOLVED = NotificationKind.RESOLVED


def _subjects_of(alert: Alert) -> tuple[str, ...]:
    """An alert may be about several subjects, of which `subject` is the first."""
    return (alert.subject, *alert.subjects)


def _follow_up(alert: Alert, text: str) -> Notification:
    name = f"{alert.rule}\n{alert.subject}\n{alert.started_at:.6f}\n{text}"
    return Notification(sha256(name.encode()).hexdigest()[:24], NotificationKind.REPEATED, alert)


def _view(record: Record, now: float) -> Mapping[str, Any]:
    return {
        "id": record.id,
        "at": rfc3339(record.at),
        "response": record.response,
        "action": record.action,
        "rule": record.rule,
        "subject": record.subject,
        "target": record.target,
        "event": record.event,
        "dry_run": record.dry_run,
        "text": sentence(record, now),
    }
