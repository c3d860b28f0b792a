"""The configured alert channels, each with its own thread, so that one that hangs delays no other."""

import queue
import threading
from collections.abc import Callable, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import TypeVar

from lessee.config.grammar.alerts import AlertmanagerChannel, Alerts, SmtpChannel, WebhookChannel
from lessee.config.grammar.block import Block
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import wall_time
from lessee.ops.monitor.alert_delivery.http import DeliveryFailedError, ask, content
from lessee.ops.monitor.alert_delivery.journal import DeliveryJournal
from lessee.ops.monitor.policy import alerts as alerting
from lessee.ops.monitor.policy import messages
from lessee.ops.monitor.policy.alerts import Notification


class Delivery(ImmutableStruct, frozen=True):
    """A batch of notifications to send. A channel that takes the full state sends `alerts` instead."""

    batch: tuple[Notification, ...]
    alerts: alerting.Alerts


class DeliveryResult(ImmutableStruct, frozen=True):
    """The result of a delivery. After success, `error` = None."""

    channel: str
    batch: tuple[Notification, ...]
    error: str | None
    rejected: bool = False


_B = TypeVar("_B", bound=Block)
_FILE_KEYS = ("url_file", "password_file", "token_file", "ca_file")
Sender = Callable[[Delivery], None]
"""Raises DeliveryFailedError."""


def open_channels(config: Alerts, environment: str | None, base: Path) -> Mapping[str, tuple[Sender, bool]]:
    """Each channel's sender, and whether it takes the full state. Relative file paths start at `base`."""
    channels: dict[str, tuple[Sender, bool]] = {}
    if config.webhook is not None:
        hook = WebhookChannel(url=config.webhook) if isinstance(config.webhook, str) else config.webhook
        channels["webhook"] = (_webhook_sender(with_absolute_paths(hook, base), environment), False)
    if config.smtp is not None:
        channels["smtp"] = (_mail_sender(with_absolute_paths(config.smtp, base), environment), False)
    if config.alertmanager is not None:
        at = config.alertmanager
        at = AlertmanagerChannel(url=at) if isinstance(at, str) else at
        channels["alertmanager"] = (_alertmanager_sender(with_absolute_paths(at, base), environment), True)
    return channels


def with_absolute_paths(block: _B, base: Path) -> _B:
    """The configuration block with its file paths made absolute from `base`."""
    files = {key: str(base / path) for key in _FILE_KEYS if (path := getattr(block, key, None)) is not None}
    headers = {header: str(base / path) for header, path in getattr(block, "header_files", {}).items()}
    return replace(block, **files, **({"header_files": headers} if headers else {}))


def _webhook_sender(config: WebhookChannel, environment: str | None) -> Sender:
    body = messages.slack_body if config.slack else messages.webhook_body

    def send(delivery: Delivery) -> None:
        url = config.url if config.url is not None else content(config.url_file or "")
        ask(url, body(delivery.batch, environment), header_files=config.header_files, ca_file=config.ca_file)

    return send


def _alertmanager_sender(config: AlertmanagerChannel, environment: str | None) -> Sender:
    url = f"{config.url.rstrip('/')}/api/v2/alerts"

    def send(delivery: Delivery) -> None:
        alerts = messages.alertmanager_body(delivery.alerts, environment, wall_time())
        if alerts:
            ask(url, alerts, header_files=config.header_files, ca_file=config.ca_file)

    return send


def _mail_sender(config: SmtpChannel, environment: str | None) -> Sender:
    def send(delivery: Delivery) -> None:
        # The module imports ssl and much of the email package, which most configurations do not need.
        from lessee.ops.monitor.alert_delivery.mail import send_mail  # noqa: PLC0415

        date = formatdate(wall_time())
        send_mail(config, messages.mail(delivery.batch, environment, sender=config.sender, to=config.to, date=date))

    return send


class ChannelWorker:
    """Sends the deliveries of one channel, one after the other."""

    def __init__(
        self, name: str, send: Sender, journal: DeliveryJournal, results: "queue.SimpleQueue[DeliveryResult]"
    ) -> None:
        self._name, self._send, self._journal, self._results = name, send, journal, results
        self._deliveries: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        # A daemon, because a channel that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"lessee-{name}", daemon=True)
        self._thread.start()

    def submit(self, delivery: Delivery) -> None:
        """Queue a delivery. Does not wait."""
        self._deliveries.put(delivery)

    def close(self) -> None:
        """Accept no more deliveries."""
        self._deliveries.put(None)

    def wait(self, timeout: float) -> None:
        """Wait for the delivery in flight, for at most `timeout` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (delivery := self._deliveries.get()) is not None:
            self._results.put(self._deliver(delivery))

    def _deliver(self, delivery: Delivery) -> DeliveryResult:
        try:
            self._send(delivery)
        except DeliveryFailedError as exc:
            return DeliveryResult(self._name, delivery.batch, str(exc), exc.rejected)
        except Exception as exc:  # noqa: BLE001  # A traceback may print a URL, and the thread must survive.
            error = f"internal error: {type(exc).__name__}; please report it"
            return DeliveryResult(self._name, delivery.batch, error)
        self._journal.add(f"{self._name}:{notification.id}" for notification in delivery.batch)
        return DeliveryResult(self._name, delivery.batch, None)
