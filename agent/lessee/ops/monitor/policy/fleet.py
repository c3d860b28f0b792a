"""The agents that the monitor knows of: those whose status it polls, and those that report to the rotator.

A report is a write of `lessee/consumers/APP/INSTANCE` in the audit log. It has no value that the log shows, but who
wrote it, from where, and when. So the monitor needs no access to Vault to know that the agent exists.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lessee.core.consumers import CONSUMER_FOLDER
from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.classification import component, printable
from lessee.ops.monitor.policy.timestamps import rfc3339

MAX_REPORTERS = 1000
"""Agents that report; with more, the one that was not seen for longest is forgotten."""
MAX_APPS = 100
"""Apps of one agent."""
_REPORT = re.compile(rf".+/metadata/(?P<prefix>.*?){CONSUMER_FOLDER}(?P<name>[^/]+/[^/]+)")


STATES = ("fresh", "not_fresh", "not_ready", "unreachable", "not_watched")
"""Of an agent in status.json. `not_watched`: the monitor knows it only from the audit log."""


class AgentSummary(ImmutableStruct, frozen=True):
    """What the status of an agent says about it as a whole."""

    version: str
    environment: str
    apps: tuple[str, ...]
    consumers: tuple[str, ...]
    """APP/INSTANCE of each app, under which the agent reports to the rotator."""
    ready: bool
    fresh: bool
    pending: int
    """Apps with a pending notification."""
    problems: int
    problem: str = ""
    """The first of them."""


def parse_agent(status: Any) -> AgentSummary | None:
    """The summary of an agent's status.json; None for that of another service. Unexpected types are ignored."""
    if not isinstance(status, Mapping) or not isinstance(status.get("version"), str):
        return None
    apps, problems = status.get("apps"), status.get("problems")
    if not isinstance(apps, Mapping):
        return None
    known = {str(name): app for name, app in list(apps.items())[:MAX_APPS] if isinstance(app, Mapping)}
    environment = status.get("environment")
    lines = problems if isinstance(problems, Sequence) and not isinstance(problems, str) else ()
    return AgentSummary(
        printable(status["version"]),
        printable(environment) if isinstance(environment, str) else "",
        tuple(map(printable, known)),
        tuple(printable(name) for app in known.values() if isinstance(name := app.get("consumer"), str)),
        status.get("ready") is True,
        status.get("fresh") is True,
        sum(_is_pending(app) for app in known.values()),
        len(lines),
        printable(lines[0]) if lines and isinstance(lines[0], str) else "",
    )


def _is_pending(app: Mapping[str, Any]) -> bool:
    notify = app.get("notify")
    return isinstance(notify, Mapping) and notify.get("pending") is True


def polled_row(summary: AgentSummary, address: str, at: float, error: str | None) -> Mapping[str, Any]:
    """An agent in status.json whose status the monitor polls."""
    return {
        "source": "status",
        "state": _state(summary, error),
        "address": address,
        "apps": list(summary.apps),
        "consumers": list(summary.consumers),
        "environment": summary.environment or None,
        "version": summary.version,
        "ready": summary.ready,
        "fresh": summary.fresh,
        "pending": summary.pending,
        "problems": summary.problems,
        "last_seen_at": rfc3339(at),
        "error": error,
    }


def _state(summary: AgentSummary, error: str | None) -> str:
    if error is not None:
        return "unreachable"
    if not summary.ready:
        return "not_ready"
    return "fresh" if summary.fresh else "not_fresh"


class Reporter(ImmutableStruct, frozen=True):
    """An agent that has reported to the rotator."""

    environment: str
    component: str
    address: str
    reported_at: float


class Reporters:
    """The agents that report, and when each sent its last request. It is changed in place, as `Rates` is."""

    def __init__(self) -> None:
        self._reporters: dict[str, Reporter] = {}
        self._last_at: dict[tuple[str, str], float] = {}
        """By component and address: an agent's other requests do not name it."""

    def take(self, access: Access) -> None:
        """Note a request."""
        who = component(access), printable(access.address)
        if who in self._last_at:
            self._last_at[who] = max(self._last_at[who], access.at)
        if CONSUMER_FOLDER not in access.path or access.error is not None:
            return
        found = _REPORT.fullmatch(access.path)
        if found is None:
            return
        environment = printable("/".join(filter(None, (access.namespace, found["prefix"].strip("/")))))
        # With its environment, because an agent of another one could write the same name.
        name = "/".join(filter(None, (environment, printable(found["name"]))))
        if access.operation == "delete":
            self._forget(name)
        elif access.operation in {"create", "update", "patch"}:
            self._forget(name)
            self._reporters[name] = Reporter(environment, *who, access.at)
            self._last_at[who] = max(self._last_at.get(who, 0.0), access.at)
            if len(self._reporters) > MAX_REPORTERS:
                self._forget(min(self._reporters, key=self._seen_at))

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The agents in status.json, by ENVIRONMENT/APP/INSTANCE, without what only an agent's own status tells."""
        for name, reporter in sorted(self._reporters.items()):
            consumer = name.removeprefix(f"{reporter.environment}/")
            yield (
                name,
                {
                    "source": "audit log",
                    "state": "not_watched",
                    "address": reporter.address,
                    "apps": [consumer.partition("/")[0]],
                    "consumers": [consumer],
                    "environment": reporter.environment or None,
                    "component": reporter.component,
                    "version": None,
                    "ready": None,
                    "fresh": None,
                    "pending": None,
                    "problems": None,
                    "reported_at": rfc3339(reporter.reported_at),
                    "last_seen_at": rfc3339(self._seen_at(name)),
                    "error": None,
                },
            )

    def state(self) -> Any:
        """The agents as JSON."""
        return [
            [name, *(getattr(reporter, field) for field in Reporter.__struct_fields__), self._seen_at(name)]
            for name, reporter in self._reporters.items()
        ]

    def restore(self, state: Any) -> None:
        """Take over `state`. Raises ValueError or TypeError."""
        for name, environment, who, address, reported_at, seen_at in state:
            self._reporters[name] = Reporter(environment, who, address, float(reported_at))
            self._last_at[who, address] = max(self._last_at.get((who, address), 0.0), float(seen_at))

    def _seen_at(self, name: str) -> float:
        reporter = self._reporters[name]
        return self._last_at[reporter.component, reporter.address]

    def _forget(self, name: str) -> None:
        reporter = self._reporters.pop(name, None)
        if reporter is None:
            return
        who = reporter.component, reporter.address
        if all((other.component, other.address) != who for other in self._reporters.values()):
            del self._last_at[who]


def without_duplicates(fleet: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Without the report of an agent whose status is polled: the status says more."""
    polled = {name for row in fleet.values() if row["source"] == "status" for name in row["consumers"]}
    return {
        name: row for name, row in fleet.items() if row["source"] == "status" or polled.isdisjoint(row["consumers"])
    }
