"""Alert rules of a configuration under a fake clock: takes requests, and returns the notifications."""

import json
from datetime import UTC
from itertools import count
from zoneinfo import ZoneInfo

from lessee.config.grammar.monitor import Monitor
from lessee.config.grammar.nodes import compose
from lessee.config.grammar.problems import Problems
from lessee.config.grammar.reader import Reader
from lessee.ops.monitor.policy.access import Access, LogEntry
from lessee.ops.monitor.policy.alert_engine import AlertEngine
from lessee.ops.monitor.policy.alerts import NotificationKind
from lessee.ops.monitor.policy.rules import build_rules
from lessee.ops.monitor.policy.service_status import Snapshot

NOON = 1_700_049_600.0
"""Wednesday, 15 November 2023, 12:00 UTC."""


def monitor(text):
    """The block `monitor`, as the configuration's reader parses it."""
    problems = Problems("lessee.yaml")
    block = Reader(problems, {}, ("monitor",)).read_as(Monitor, compose(text, "lessee.yaml"))
    problems.raise_all()
    return block


def access(at=NOON, operation="read", path="secret/data/production/database/postgres", **fields):
    """A successful request of simba from 10.0.0.5."""
    mount = path.split("/")[0] if not path.startswith("auth/") else "/".join(path.split("/")[:2])
    defaults = {
        "id": "", "mount": mount, "mount_type": {"secret": "kv", "sys": "system"}.get(mount, mount), "namespace": "",
        "address": "10.0.0.5", "display_name": "approle", "entity": "", "role": "simba", "accessor": "hmac-sha256:1",
        "policies": ("simba",), "root": False, "error": None, "denied": False, "version": None, "server": "one",
    }  # fmt: skip
    return Access(at=at, operation=operation, path=path, **(defaults | fields))


def denied(at=NOON, **fields):
    """A denied request."""
    return access(at, error="1 error occurred: * permission denied", denied=True, **fields)


def root(at=NOON, operation="read", path="secret/data/production/database/postgres", **fields):
    """A request with a root token."""
    defaults = {"display_name": "token", "role": "", "policies": ("root",), "root": True}
    return access(at, operation, path, **(defaults | fields))


class Rules:
    """`alerts` is the block `monitor.alerts`, as YAML in flow style."""

    def __init__(self, alerts, watch=(), now=NOON):
        self.now, self._numbers, self.services, self.sources = now, count(1), {}, ()
        config = monitor(f"{{audit: {{stdin: true}}, watch: {json.dumps(list(watch))}, alerts: {alerts}}}")
        self._rule_set = build_rules(config.alerts, polls_services=bool(config.watch), timezone=timezone)
        self.engine = AlertEngine(self._rule_set)
        self.tick()

    def read(self, *accesses):
        self.engine.take([LogEntry("one", next(self._numbers), each) for each in accesses], self.now)

    def tick(self, after=0.0):
        """The kinds and subjects of the notifications."""
        self.now += after
        self.notifications = self.engine.evaluate(Snapshot(self.now, self.sources, self.services))
        return [(one.kind, one.alert.subject) for one in self.notifications]

    def take(self, *accesses, after=0.0):
        """Read requests, and tick."""
        self.now += after
        self.read(*accesses)
        return self.tick()

    def restart(self):
        """Restart after a kill: only the state remains."""
        state = json.loads(json.dumps(self.engine.state()))
        self.engine = AlertEngine(self._rule_set)
        self.engine.restore(state)
        return self

    def firing(self):
        return {(alert.rule, alert.subject) for alert in self.engine.alerts.values() if alert.firing}


FIRING, REPEATED, RESOLVED = NotificationKind.FIRING, NotificationKind.REPEATED, NotificationKind.RESOLVED


def timezone(name):
    return UTC if name == "UTC" else ZoneInfo(name)
