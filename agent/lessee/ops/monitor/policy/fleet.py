"""The agents that the monitor knows of: those whose status it polls, and those that the audit log shows.

The log shows each role that reads, and each agent that reports to the rotator: a report is a write of
`lessee/consumers/APP/INSTANCE`. The log has no value, but who sent each request, from where, and when. So the monitor
needs no access to Vault to know that the agent exists.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lessee.core.consumers import CONSUMER_FOLDER
from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.classification import component, printable
from lessee.ops.monitor.policy.clients import Clients, Who
from lessee.ops.monitor.policy.timestamps import rfc3339

MAX_REPORTERS = 1000
"""Agents that report; with more, the one that was not seen for longest is forgotten."""
MAX_APPS = 100
"""Apps of one agent."""
_REPORT = re.compile(rf".+/metadata/(?P<prefix>.*?){CONSUMER_FOLDER}(?P<name>[^/]+/[^/]+)")


STATES = ("fresh", "not_fresh", "not_ready", "unreachable", "silent", "not_watched")
"""Of an agent in status.json. Of one that is only in the audit log: `silent`, without a request for hours;
`not_watched`, if the log does not show whether it is fresh."""
_OF_CLIENT = ("logged_in_at", "last_read_at", "last_read", "outdated")
"""What only the audit log tells about an agent, also about one whose status is polled."""


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
    token_requests: tuple[str, ...] = ()
    """The id of the last request about each token, which the audit log has too."""


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
        tuple(_token_requests(status.get("identities"))),
    )


def _token_requests(identities: Any) -> Iterator[str]:
    for identity in identities[:MAX_APPS] if isinstance(identities, list) else ():
        token = identity.get("token") if isinstance(identity, Mapping) else None
        if isinstance(token, Mapping) and isinstance(token.get("request_id"), str) and token["request_id"]:
            yield token["request_id"]


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
        **dict.fromkeys(_OF_CLIENT),
        "last_seen_at": rfc3339(at),
        "error": error,
        "token_requests": list(summary.token_requests),
    }


def _state(summary: AgentSummary, error: str | None) -> str:
    if error is not None:
        return "unreachable"
    if not summary.ready:
        return "not_ready"
    return "fresh" if summary.fresh else "not_fresh"


_FROM_LOG: Mapping[str, Any] = {
    "source": "audit log",
    "state": "not_watched",
    "apps": [],
    "consumers": [],
    **dict.fromkeys(("version", "ready", "fresh", "pending", "problems", "reported_at", "error")),
    **dict.fromkeys(_OF_CLIENT),
    "token_requests": [],
}
"""An agent in status.json that the monitor knows from the audit log, which does not have the other fields."""


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

    def rows(self) -> Iterator[tuple[Who, str, Mapping[str, Any]]]:
        """Who, ENVIRONMENT/APP/INSTANCE, and the fields in status.json of each agent."""
        for name, reporter in sorted(self._reporters.items()):
            consumer = name.removeprefix(f"{reporter.environment}/")
            yield (
                (reporter.component, reporter.address),
                name,
                {
                    **_FROM_LOG,
                    "address": reporter.address,
                    "apps": [consumer.partition("/")[0]],
                    "consumers": [consumer],
                    "environment": reporter.environment or None,
                    "component": reporter.component,
                    "reported_at": rfc3339(reporter.reported_at),
                    "last_seen_at": rfc3339(self._seen_at(name)),
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


def from_log(reporters: Reporters, clients: Clients, now: float) -> Mapping[str, Mapping[str, Any]]:
    """The agents that the audit log shows, in status.json. A role that reads and reports is one agent."""
    rows: dict[str, Mapping[str, Any]] = {}
    reporting: dict[Who, list[str]] = {}
    for who, name, row in reporters.rows():
        rows[name] = row
        reporting.setdefault(who, []).append(name)
    for who, name, row in clients.rows(now):
        for reporter in reporting.get(who, ()):
            rows[reporter] = {**rows[reporter], **row, "environment": rows[reporter]["environment"]}
        if who not in reporting:
            rows[name] = {**_FROM_LOG, **row}
    return rows


def without_duplicates(fleet: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Without the audit log's row of an agent whose status is polled: the status says more, except for its reads."""
    by_key: dict[str, str] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, row in fleet.items():
        if row["source"] == "status":
            by_key.update(dict.fromkeys((*row["consumers"], *row["token_requests"]), name))
            rows[name] = dict(row)
    for name, row in fleet.items():
        if row["source"] == "status":
            continue
        polled = next((by_key[key] for key in (*row["consumers"], *row["token_requests"]) if key in by_key), None)
        if polled is None:
            rows[name] = dict(row)
        elif (row["last_read_at"] or "") > (rows[polled]["last_read_at"] or ""):
            rows[polled] |= {key: row[key] for key in _OF_CLIENT}
    for row in rows.values():
        del row["token_requests"]
    return dict(sorted(rows.items()))
