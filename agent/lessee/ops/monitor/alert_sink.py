"""The sink that applies the alert rules and delivers alerts to the configured channels."""

import queue
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from lessee.config.grammar.alerts import OutsideHours
from lessee.config.grammar.monitor import Monitor
from lessee.config.monitor import watch_targets
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.clock import boot_time, wall_time
from lessee.ops.monitor.alert_delivery.channels import ChannelWorker, Delivery, DeliveryResult, open_channels
from lessee.ops.monitor.alert_delivery.journal import DeliveryJournal
from lessee.ops.monitor.policy import outbox
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.alert_engine import AlertEngine
from lessee.ops.monitor.policy.alerts import Notification
from lessee.ops.monitor.policy.outbox import Channel
from lessee.ops.monitor.policy.rules import build_rules
from lessee.ops.monitor.policy.service_status import Snapshot, parse_source, polled_agents, services_view
from lessee.ops.monitor.policy.timestamps import rfc3339
from lessee.ops.monitor.service_poller import ServicePoller
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.ops.monitor.responses.sink import ResponseSink

_CLOSE_TIMEOUT = 3.0
"""Seconds that a delivery in flight gets when the monitor stops."""


class AlertSink:
    """Owns the rules, the alerts and the channels' queues, all in the loop's thread."""

    name = "alerts"

    def __init__(
        self,
        config: Monitor,
        *,
        environment: str | None,
        folder: Path,
        base: Path,
        sources: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
        responses: "ResponseSink | None" = None,
    ) -> None:
        """`folder` holds the delivery journal. Relative file paths start at `base`.

        `sources` returns the name, error and last_at of each log. `responses` acts on alerts, and adds to their text.
        """
        self._responses = responses
        self._rule_set = build_rules(config.alerts, polls_services=bool(config.watch), timezone=ZoneInfo)
        self._engine = AlertEngine(self._rule_set)
        self._sources = sources
        self._journal = DeliveryJournal(folder / "delivered.json")
        self._results: queue.SimpleQueue[DeliveryResult] = queue.SimpleQueue()
        senders = open_channels(config.alerts, environment, base)
        self._channels = {name: Channel(takes_full_state=full) for name, (_, full) in senders.items()}
        self._workers = {
            name: ChannelWorker(name, send, self._journal, self._results) for name, (send, _) in senders.items()
        }
        self._in_checkpoint: Mapping[str, int] = {}
        """How many pending notifications of each channel the last `state` held."""
        self._poller = ServicePoller(watch_targets(config), base, config.poll_interval)
        self._status: Mapping[str, Any] = {}
        self._update_status(wall_time())

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        self._engine.take(entries, wall_time())

    def tick(self, now: float) -> None:
        """Evaluate the rules, and deliver notifications."""
        # The last state is saved by now: a notification that is in it can no longer be forgotten.
        self._channels = {
            name: outbox.mark_saved(channel, self._in_checkpoint[name]) if name in self._in_checkpoint else channel
            for name, channel in self._channels.items()
        }
        self._in_checkpoint = {}
        self._collect_results(now)
        sources = tuple(parse_source(source) for source in self._sources())
        notifications = self._engine.evaluate(Snapshot(now, sources, self._poller.results()))
        for notification in notifications:
            _log_alert(notification)
        if self._responses is not None:
            notifications = self._responses.follow(self._engine.alerts, notifications, now)
        self._channels = {name: outbox.put(channel, notifications) for name, channel in self._channels.items()}
        for name in self._channels:
            self._deliver(name, now)
        self._update_status(now)

    def state(self) -> Any:
        """The state of the rules and alerts, and the pending notifications."""
        self._in_checkpoint = {name: len(channel.pending) for name, channel in self._channels.items()}
        channels = {
            name: outbox.to_state(channel) for name, channel in self._channels.items() if not channel.takes_full_state
        }
        return {"engine": self._engine.state(), "channels": channels}

    def restore(self, state: Any) -> None:
        """Take over `state`. Raises ValueError."""
        try:
            engine = AlertEngine(self._rule_set)
            engine.restore(state["engine"])
            channels = {
                name: outbox.from_state(self._channels[name], saved)
                for name, saved in state["channels"].items()
                if name in self._channels
            }
        except (ValueError, TypeError, KeyError, AttributeError, msgspec.MsgspecError) as exc:
            raise ValueError(type(exc).__name__) from None
        self._engine = engine
        for name, channel in channels.items():
            delivered = {one.id for one in channel.pending if f"{name}:{one.id}" in self._journal}
            self._channels[name] = outbox.without(channel, delivered)
        self._update_status(wall_time())

    def status(self) -> Mapping[str, Any]:
        """`accesses`, `alerts`, `delivery` of each channel, and `services` and `rotation` of the polled services."""
        return self._status

    def close(self) -> None:
        """Wait a moment for deliveries in flight. The next start delivers the rest."""
        self._poller.close()
        deadline = boot_time() + _CLOSE_TIMEOUT
        for worker in self._workers.values():
            worker.close()
        for worker in self._workers.values():
            worker.wait(max(0.0, deadline - boot_time()))

    def _collect_results(self, now: float) -> None:
        while not self._results.empty():
            result = self._results.get()
            before = self._channels[result.channel]
            draw = random.random()  # noqa: S311  # It only jitters the retry.
            after = outbox.finish(before, result.batch, now, error=result.error, draw=draw, rejected=result.rejected)
            self._channels[result.channel] = after
            dropped = after.dropped - before.dropped
            if dropped:
                log("error", "alerts dropped", channel=result.channel, count=dropped, reason=result.error)
            elif result.error is not None and result.error != before.error:
                note = "delivery will be retried"
                log("warning", "alert delivery failed", channel=result.channel, reason=result.error, note=note)
            elif result.error is None and before.error is not None:
                log("info", "alert delivery recovered", channel=result.channel)

    def _deliver(self, name: str, now: float) -> None:
        channel, batch = outbox.begin(self._channels[name], now)
        self._channels[name] = channel
        if batch is not None:
            alerts = self._engine.alerts
            self._workers[name].submit(
                Delivery(batch, self._responses.annotated(alerts) if self._responses else alerts)
            )

    def _update_status(self, now: float) -> None:
        """Build a new status. Any thread may read it, because it is never changed."""
        status = self._engine.status(now)
        alerts = [{**alert, "notified": self._notified(alert), **self._responded(alert)} for alert in status["alerts"]]
        failing = [f"alerts cannot be sent by {name}: {one.error}" for name, one in self._channels.items() if one.error]
        delivery = {name: _channel_view(channel) for name, channel in self._channels.items()}
        polls = self._poller.results()
        services = {**services_view(polls), "fleet": polled_agents(polls)}
        self._status = {**status, **services, "alerts": alerts, "delivery": delivery, "problems": failing}

    def _responded(self, alert: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was done because of the alert, if the configuration has responses."""
        if self._responses is None:
            return {}
        return {"responses": self._responses.sentences(self._engine.alerts[alert["rule"], alert["subject"]])}

    def _notified(self, alert: Mapping[str, Any]) -> Mapping[str, bool]:
        """Whether each channel has delivered all that is known about the alert."""
        key = (alert["rule"], alert["subject"])
        if self._responses is not None and self._responses.holds(*key):
            return dict.fromkeys(self._channels, False)
        return {
            name: not channel.state_changed
            and all((pending.alert.rule, pending.alert.subject) != key for pending in channel.pending)
            for name, channel in self._channels.items()
        }


def _log_alert(notification: Notification) -> None:
    alert = notification.alert
    level = "info" if alert.resolved_at is not None else "warning"
    log(level, f"alert {notification.kind.value}", rule=alert.rule, subject=alert.subject, text=alert.text)


def _channel_view(channel: Channel) -> Mapping[str, Any]:
    return {
        "delivered": channel.delivered,
        "pending": len(channel.pending),
        "dropped": channel.dropped,
        "error": channel.error,
        "failing_since": rfc3339(channel.failing_since),
    }


def check_timezones(config: Monitor) -> None:
    """Raises ConfigError if this machine does not know a time zone."""
    for index, rule in enumerate(config.alerts.rules):
        if isinstance(rule, OutsideHours):
            try:
                ZoneInfo(rule.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                what, todo = f"unknown time zone {rule.timezone}", "correct it, or install the package tzdata"
                raise ConfigError([LesseeError(what, where=f"monitor.alerts.rules[{index}]", todo=todo)]) from None
