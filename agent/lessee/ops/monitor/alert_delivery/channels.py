"""The ways of telling that a configuration names, each with a thread of its own: one that hangs holds up no other."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import TypeVar

from lessee.config.grammar.alerts import AlertmanagerAt, Alerts, Hook, Mail
from lessee.config.grammar.block import Block
from lessee.core.immutable import Record, replace
from lessee.host.clock import wall_time
from lessee.ops.monitor.alert_delivery.http import DeliveryFailedError, ask, content
from lessee.ops.monitor.alert_delivery.journal import Notified
from lessee.ops.monitor.policy import alerts as board
from lessee.ops.monitor.policy import bodies
from lessee.ops.monitor.policy.alerts import Telling


class Job(Record, frozen=True):
    """What is to be told: these, or to a way that takes the whole state, all of it."""

    batch: tuple[Telling, ...]
    alerts: board.Alerts


class Result(Record, frozen=True):
    """What came of it."""

    way: str
    batch: tuple[Telling, ...]
    error: str | None
    unfit: bool = False


_B = TypeVar("_B", bound=Block)
_FILES = ("url_file", "password_file", "token_file", "ca_file")
Teller = Callable[[Job], None]
"""Raises DeliveryFailedError."""


def tellers(said: Alerts, environment: str | None, near: Path) -> Mapping[str, tuple[Teller, bool]]:
    """By the name of each way; and whether it takes the whole state. `near`: where the paths of files start."""
    found: dict[str, tuple[Teller, bool]] = {}
    if said.webhook is not None:
        hook = Hook(url=said.webhook) if isinstance(said.webhook, str) else said.webhook
        found["webhook"] = (_webhook(settled(hook, near), environment), False)
    if said.smtp is not None:
        found["smtp"] = (_mail(settled(said.smtp, near), environment), False)
    if said.alertmanager is not None:
        at = said.alertmanager
        at = AlertmanagerAt(url=at) if isinstance(at, str) else at
        found["alertmanager"] = (_alertmanager(settled(at, near), environment), True)
    return found


def settled(said: _B, near: Path) -> _B:
    """With the paths of its files as they are from anywhere."""
    files = {key: str(near / path) for key in _FILES if (path := getattr(said, key, None)) is not None}
    headers = {header: str(near / path) for header, path in getattr(said, "header_files", {}).items()}
    return replace(said, **files, **({"header_files": headers} if headers else {}))


def _webhook(said: Hook, environment: str | None) -> Teller:
    body = bodies.for_slack if said.slack else bodies.as_json

    def tell(job: Job) -> None:
        url = said.url if said.url is not None else content(said.url_file or "")
        ask(url, body(job.batch, environment), header_files=said.header_files, ca_file=said.ca_file)

    return tell


def _alertmanager(said: AlertmanagerAt, environment: str | None) -> Teller:
    url = f"{said.url.rstrip('/')}/api/v2/alerts"

    def tell(job: Job) -> None:
        alerts = bodies.for_alertmanager(job.alerts, environment, wall_time())
        if alerts:
            ask(url, alerts, header_files=said.header_files, ca_file=said.ca_file)

    return tell


def _mail(said: Mail, environment: str | None) -> Teller:
    def tell(job: Job) -> None:
        # It brings ssl and half of the mail package along, and few have it.
        from lessee.ops.monitor.alert_delivery.mail import send  # noqa: PLC0415

        date = formatdate(wall_time())
        send(said, bodies.as_mail(job.batch, environment, sender=said.sender, to=said.to, date=date))

    return tell


class Worker:
    """Tells over one way, one job after the other."""

    def __init__(self, name: str, teller: Teller, told: Notified, results: "queue.SimpleQueue[Result]") -> None:
        self._name, self._teller, self._told, self._results = name, teller, told, results
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # One that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"lessee-{name}", daemon=True)
        self._thread.start()

    def give(self, job: Job) -> None:
        """Does not wait."""
        self._jobs.put(job)

    def close(self) -> None:
        """Nothing more comes."""
        self._jobs.put(None)

    def wait(self, timeout: float) -> None:
        """What is under way has so many seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._results.put(self._done(job))

    def _done(self, job: Job) -> Result:
        try:
            self._teller(job)
        except DeliveryFailedError as exc:
            return Result(self._name, job.batch, str(exc), exc.unfit)
        except Exception as exc:  # noqa: BLE001  # A traceback may print a URL, and the way must not die.
            return Result(self._name, job.batch, f"internal error: {type(exc).__name__}; please report it")
        self._told.add(_names(self._name, job.batch))
        return Result(self._name, job.batch, None)


def _names(way: str, batch: Sequence[Telling]) -> list[str]:
    return [f"{way}:{telling.id}" for telling in batch]
