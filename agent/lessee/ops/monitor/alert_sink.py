"""The sink that counts who reads what, and tells people what is wrong."""

import queue
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from lessee.config.alerts import watched
from lessee.config.grammar.alerts import OutsideHours
from lessee.config.grammar.operator import Monitor
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.clock import boot_time, wall_time
from lessee.ops.monitor.alert_delivery.channels import Job, Result, Worker, tellers
from lessee.ops.monitor.alert_delivery.journal import Notified
from lessee.ops.monitor.policy import outbox, services
from lessee.ops.monitor.policy.access import Line
from lessee.ops.monitor.policy.alerts import Telling
from lessee.ops.monitor.policy.facts import World, source
from lessee.ops.monitor.policy.outbox import Way
from lessee.ops.monitor.policy.rules import ruling
from lessee.ops.monitor.policy.watch import Watch, spelled
from lessee.ops.monitor.service_poller import EVERY, Looking
from lessee.telemetry.logs import log

_LEAVE = 3.0
"""Seconds at the end for a message that is under way."""


class Alerting:
    """Owns the rules, the alerts, and what is still to be told of them: all in the loop's thread."""

    name = "alerts"

    def __init__(
        self,
        said: Monitor,
        *,
        environment: str | None,
        folder: Path,
        near: Path,
        sources: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
        look_every: float = EVERY,
    ) -> None:
        """`folder`: where it keeps what has been told. `near`: where the paths of files start.

        `sources`: how each log is, by name, error and last_at.
        """
        self._ruling = ruling(said.alerts, watches=bool(said.watch), zone=ZoneInfo)
        self._watch = Watch(self._ruling)
        self._sources = sources
        self._told = Notified(folder / "told.json")
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        found = tellers(said.alerts, environment, near)
        self._ways = {name: Way(whole=whole) for name, (_, whole) in found.items()}
        self._workers = {name: Worker(name, one, self._told, self._results) for name, (one, _) in found.items()}
        self._in_save: Mapping[str, int] = {}
        self._looking = Looking(watched(said), near, look_every)
        self._status: Mapping[str, Any] = {}
        self._show(wall_time())

    def take(self, lines: Sequence[Line]) -> None:
        """Count them, and hold them against the rules."""
        self._watch.take(lines, wall_time())

    def tick(self, now: float) -> None:
        """Look for what is wrong, and have it told."""
        # The state that was asked for last has been saved by now: what is told can no more be forgotten.
        self._ways = {
            name: outbox.was_saved(way, self._in_save[name]) if name in self._in_save else way
            for name, way in self._ways.items()
        }
        self._in_save = {}
        self._collect(now)
        sources = tuple(source(one) for one in self._sources())
        tellings = self._watch.turn(World(now, sources, self._looking.answers()))
        for telling in tellings:
            _say(telling)
        self._ways = {name: outbox.put(way, tellings) for name, way in self._ways.items()}
        for name in self._ways:
            self._give(name, now)
        self._show(now)

    def state(self) -> Any:
        """What the rules know, the alerts, and what waits to be told."""
        self._in_save = {name: len(way.waiting) for name, way in self._ways.items()}
        ways = {name: outbox.kept(way) for name, way in self._ways.items() if not way.whole}
        return {"watch": self._watch.kept(), "ways": ways}

    def restore(self, state: Any) -> None:
        """Of `state`. Raises ValueError."""
        try:
            watch = Watch(self._ruling)
            watch.restore(state["watch"])
            ways = {
                name: outbox.restored(self._ways[name], said)
                for name, said in state["ways"].items()
                if name in self._ways
            }
        except (ValueError, TypeError, KeyError, AttributeError, msgspec.MsgspecError) as exc:
            raise ValueError(type(exc).__name__) from None
        self._watch = watch
        for name, way in ways.items():
            done = {one.id for one in way.waiting if f"{name}:{one.id}" in self._told}
            self._ways[name] = outbox.without(way, done)
        self._show(wall_time())

    def status(self) -> Mapping[str, Any]:
        """`accesses`, `alerts`, how telling goes, and how the services are that are watched."""
        return self._status

    def close(self) -> None:
        """What is under way has a moment; the rest is told after the next start."""
        self._looking.close()
        deadline = boot_time() + _LEAVE
        for worker in self._workers.values():
            worker.close()
        for worker in self._workers.values():
            worker.wait(max(0.0, deadline - boot_time()))

    def _collect(self, now: float) -> None:
        while not self._results.empty():
            result = self._results.get()
            before = self._ways[result.way]
            draw = random.random()  # noqa: S311  # Of how long it waits, nobody's safety hangs.
            after = outbox.ended(before, result.batch, now, error=result.error, draw=draw, unfit=result.unfit)
            self._ways[result.way] = after
            if after.lost > before.lost:
                log("error", "alerts let go", way=result.way, count=after.lost - before.lost, reason=result.error)
            elif result.error is not None and result.error != before.error:
                log("warning", "alerts cannot be told", way=result.way, reason=result.error, note="it is tried again")
            elif result.error is None and before.error is not None:
                log("info", "alerts can be told again", way=result.way)

    def _give(self, name: str, now: float) -> None:
        way, batch = outbox.begin(self._ways[name], now)
        self._ways[name] = way
        if batch is not None:
            self._workers[name].give(Job(batch, self._watch.alerts))

    def _show(self, now: float) -> None:
        """Any thread may read the status: it is made anew here, and never changed."""
        said = self._watch.status(now)
        alerts = [{**alert, "told": self._told_of(alert)} for alert in said["alerts"]]
        failing = [f"alerts cannot be told by {name}: {way.error}" for name, way in self._ways.items() if way.error]
        ways = {name: _way(way) for name, way in self._ways.items()}
        asked = services.view(self._looking.answers())
        self._status = {**said, **asked, "alerts": alerts, "telling": ways, "problems": failing}

    def _told_of(self, alert: Mapping[str, Any]) -> Mapping[str, bool]:
        key = (alert["rule"], alert["subject"])
        return {
            name: not way.news and all((one.alert.rule, one.alert.subject) != key for one in way.waiting)
            for name, way in self._ways.items()
        }


def _say(telling: Telling) -> None:
    alert = telling.alert
    level = "info" if alert.over_at is not None else "warning"
    log(level, f"alert {telling.what.value}", rule=alert.rule, subject=alert.subject, text=alert.text)


def _way(way: Way) -> Mapping[str, Any]:
    since = spelled(way.failing_since)
    return {"told": way.told, "waiting": len(way.waiting), "lost": way.lost, "error": way.error, "since": since}


def check_zones(said: Monitor) -> None:
    """Raises ConfigError where this machine does not know a time zone."""
    for index, rule in enumerate(said.alerts.rules):
        if isinstance(rule, OutsideHours):
            try:
                ZoneInfo(rule.zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                what, todo = f"this machine knows no time zone {rule.zone}", "correct it, or install the package tzdata"
                raise ConfigError([LesseeError(what, where=f"monitor.alerts.rules[{index}]", todo=todo)]) from None
