"""The rules of a configuration under a clock of the test's own: requests go in, and what people are told comes out."""

import json
from datetime import UTC
from itertools import count
from zoneinfo import ZoneInfo

from lessee.config.grammar.nodes import compose
from lessee.config.grammar.operator import Monitor
from lessee.config.grammar.problems import Problems
from lessee.config.grammar.reader import Reader
from lessee.ops.monitor.policy.access import Access, Line
from lessee.ops.monitor.policy.alerts import What
from lessee.ops.monitor.policy.facts import World
from lessee.ops.monitor.policy.rules import ruling
from lessee.ops.monitor.policy.watch import Watch

NOON = 1_700_049_600.0
"""Wednesday, 15 November 2023, 12:00 UTC."""


def monitor(text):
    """The block as the configuration's reader has it."""
    problems = Problems("lessee.yaml")
    said = Reader(problems, {}, ("monitor",)).read_as(Monitor, compose(text, "lessee.yaml"))
    problems.raise_all()
    return said


def access(at=NOON, operation="read", path="secret/data/production/database/postgres", **fields):
    """A request that was answered: of simba, from 10.0.0.5."""
    mount = path.split("/")[0] if not path.startswith("auth/") else "/".join(path.split("/")[:2])
    given = {
        "id": "", "mount": mount, "mount_type": {"secret": "kv", "sys": "system"}.get(mount, mount), "namespace": "",
        "address": "10.0.0.5", "display_name": "approle", "entity": "", "role": "simba", "accessor": "hmac-sha256:1",
        "policies": ("simba",), "root": False, "error": None, "refused": False, "version": None, "server": "one",
    }  # fmt: skip
    return Access(at=at, operation=operation, path=path, **(given | fields))


def refused(at=NOON, **fields):
    """One that was not."""
    return access(at, error="1 error occurred: * permission denied", refused=True, **fields)


def root(at=NOON, operation="read", path="secret/data/production/database/postgres", **fields):
    """One with a root token."""
    given = {"display_name": "token", "role": "", "policies": ("root",), "root": True}
    return access(at, operation, path, **(given | fields))


class Alarms:
    """`rules`: of `monitor.alerts`, as YAML in flow style."""

    def __init__(self, alerts, watch=(), now=NOON):
        self.now, self._numbers, self.answers, self.sources = now, count(1), {}, ()
        self._said = monitor(f"{{audit: {{stdin: true}}, watch: {json.dumps(list(watch))}, alerts: {alerts}}}")
        self._ruling = ruling(self._said.alerts, watches=bool(self._said.watch), zone=zone)
        self.watch = Watch(self._ruling)
        self.tick()

    def read(self, *accesses):
        self.watch.take([Line("one", next(self._numbers), each) for each in accesses], self.now)

    def tick(self, after=0.0):
        """What is told: pairs of what and subject."""
        self.now += after
        self.told = self.watch.turn(World(self.now, self.sources, self.answers))
        return [(one.what, one.alert.subject) for one in self.told]

    def hear(self, *accesses, after=0.0):
        """Read them, and tick."""
        self.now += after
        self.read(*accesses)
        return self.tick()

    def restart(self):
        """As after a kill: nothing is left but what was kept."""
        kept = json.loads(json.dumps(self.watch.kept()))
        self.watch = Watch(self._ruling)
        self.watch.restore(kept)
        return self

    def firing(self):
        return {(alert.rule, alert.subject) for alert in self.watch.alerts.values() if alert.firing}


FIRING, AGAIN, RESOLVED = What.FIRING, What.AGAIN, What.RESOLVED


def zone(name):
    return UTC if name == "UTC" else ZoneInfo(name)
