"""Who reads what, and what is wrong: lines and facts go in, and what people are to be told comes out."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from lessee.ops.monitor.policy import alerts as board
from lessee.ops.monitor.policy.access import Access, Line
from lessee.ops.monitor.policy.alerts import Alert, Sign, Telling
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.interpretation import Kind, component, is_refusal, kind, secret_path, shown
from lessee.ops.monitor.policy.rates import Rates
from lessee.ops.monitor.policy.rules import Ruling
from lessee.ops.monitor.policy.rules.rule import Seen

GRACE = 60.0
"""Seconds after a restart before which no alert is over: what still is so has to be seen first."""
_AHEAD = 300.0
"""A server's clock that is so far ahead of ours is believed; what is later is taken to be now."""


class Watch:
    """It is changed in place, as `rates` is. `now` in seconds since 1970."""

    def __init__(self, ruling: Ruling) -> None:
        self._rules, self._manners = ruling.rules, ruling.manners
        self._alerts: board.Alerts = {}
        self._rates = Rates()
        self._began: float | None = None
        self._turned_at, self._grace = 0.0, 0.0
        self._hearers = {
            (one, root): tuple(rule for rule in ruling.rules if rule.hears(one, root=root))
            for one in Kind
            for root in (False, True)
        }

    @property
    def alerts(self) -> board.Alerts:
        """Those that fire, and those that were over a while ago."""
        return self._alerts

    def take(self, lines: Iterable[Line], now: float) -> None:
        """What the log says, in its order."""
        for line in lines:
            access = line.access
            asked = kind(access.operation, access.path, access.mount, access.mount_type)
            at = access.at if access.at <= now + _AHEAD else now
            refused = is_refusal(access, asked)
            if refused:
                self._rates.refused(at)
            elif asked is Kind.READ:
                self._rates.read(_path(access), component(access), shown(access.address), at)
            hearers = self._hearers[asked, access.root]
            if hearers:
                seen = _seen(access, asked, at, refused=refused)
                for rule in hearers:
                    rule.take(seen)

    def turn(self, world: World) -> tuple[Telling, ...]:
        """What is to be told now."""
        now = world.now
        self._began = now if self._began is None else min(self._began, now)
        if now < self._turned_at - _AHEAD:
            self._rates.set_back(now)
            for rule in self._rules:
                rule.set_back(now)
        self._turned_at = now
        self._rates.forget(now)
        signs: list[Sign] = [sign for rule in self._rules for sign in rule.signs(world)]
        self._alerts, tellings = board.step(
            self._alerts, signs, now, self._manners, ends_from=self._began + self._grace
        )
        return tellings

    def kept(self) -> Any:
        """What it must know after a restart, as JSON."""
        return {
            "at": self._turned_at,
            "alerts": [msgspec.to_builtins(alert) for alert in self._alerts.values()],
            "rates": self._rates.kept(),
            "rules": {rule.name: [type(rule).__name__, rule.kept()] for rule in self._rules},
        }

    def restore(self, kept: Any) -> None:
        """Of `kept`. Rules that there are no more are forgotten, and their alerts are over at the next turn."""
        found = [msgspec.convert(alert, Alert) for alert in kept["alerts"]]
        self._alerts = {(alert.rule, alert.subject): alert for alert in found}
        self._turned_at, self._grace = float(kept["at"]), GRACE
        self._rates.restore(kept["rates"])
        for rule in self._rules:
            kind_of, said = kept["rules"].get(rule.name, ("", None))
            if kind_of == type(rule).__name__:
                rule.restore(said)

    def status(self, now: float) -> Mapping[str, Any]:
        """For status.json: `accesses` and `alerts`."""
        accesses = self._rates.view(now)
        rows = [{**row, "last_at": spelled(row["last_at"])} for row in accesses["by_path"]]
        ordered = sorted(self._alerts.values(), key=lambda alert: (not alert.firing, -alert.since))
        return {"accesses": {**accesses, "by_path": rows}, "alerts": [_alert(alert) for alert in ordered]}


def spelled(moment: float | None) -> str | None:
    """As RFC 3339 has it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds") if moment else None


def _path(access: Access) -> str:
    return secret_path(access.path, access.mount, access.mount_type, access.namespace)


def _seen(access: Access, asked: Kind, at: float, *, refused: bool) -> Seen:
    return Seen(
        at,
        asked,
        access.operation,
        _path(access),
        component(access),
        shown(access.address),
        access.root,
        access.error,
        refused,
    )


def _alert(alert: Alert) -> Mapping[str, Any]:
    return {
        "rule": alert.rule,
        "subject": alert.subject,
        "severity": alert.severity,
        "text": alert.text,
        "since": spelled(alert.since),
        "last": spelled(alert.last),
        "times": alert.times,
        "firing": alert.firing,
        "over": spelled(alert.over_at),
    }
