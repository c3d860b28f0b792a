"""One step of the state machine while it is under way: the state that it changes, and the commands until now."""

from typing import Protocol

from lessee.agent.machine.state import PendingRequest, State
from lessee.core.backoff import OUTAGE_DIVISOR, delay
from lessee.core.failures import Failure
from lessee.core.immutable import replace
from lessee.protocol.commands import Command, Log, Login, VaultCommand

REQUEST_TIMEOUT = 30.0
"""Seconds after which a request is abandoned that neither succeeded nor failed by its own timeouts."""
PROBE_TIMEOUT = 3.0
"""The same during a short outage, so that a probe that hangs does not hide that Vault is available again."""


class Retried(Protocol):
    """Something that may have failed several times in a row, the first time at `since`."""

    @property
    def attempts(self) -> int: ...

    @property
    def since(self) -> float: ...


class Transaction:
    """The state as variables and dicts that handlers and planners change in place; `commit` makes a `State` of them.

    Each mapping is copied whole at the start: for 1,000 apps that takes a hundredth of the time that planning takes.
    """

    __slots__ = (
        "_last_id",
        "_random_state",
        "apps",
        "commands",
        "counters",
        "deregistering",
        "event_source",
        "folders",
        "issuances",
        "leases",
        "mounts",
        "moved_apps",
        "now",
        "requests",
        "secrets",
        "session",
        "stopping",
        "version_reports",
    )

    def __init__(self, state: State, now: float) -> None:
        self.now = now
        self.commands: list[Command] = []
        self.session = state.session
        self.mounts = dict(state.mounts)
        self.folders = dict(state.folders)
        self.secrets = dict(state.secrets)
        self.issuances = dict(state.issuances)
        self.leases = dict(state.leases)
        self.apps = dict(state.apps)
        self.version_reports = dict(state.version_reports)
        self.requests = dict(state.requests)
        self.event_source = state.event_source
        self.moved_apps = state.moved_apps
        self.stopping = state.stopping
        self.deregistering = state.deregistering
        self.counters = state.counters
        self._random_state = state.random_state
        self._last_id = state.last_id

    def commit(self) -> tuple[State, tuple[Command, ...]]:
        """The new state, and the commands for the agent."""
        state = State(
            random_state=self._random_state,
            session=self.session,
            mounts=self.mounts,
            folders=self.folders,
            secrets=self.secrets,
            issuances=self.issuances,
            leases=self.leases,
            apps=self.apps,
            version_reports=self.version_reports,
            requests=self.requests,
            event_source=self.event_source,
            moved_apps=self.moved_apps,
            last_id=self._last_id,
            stopping=self.stopping,
            deregistering=self.deregistering,
            counters=self.counters,
        )
        return state, tuple(self.commands)

    def new_id(self) -> int:
        """A number that no request and no job had before."""
        self._last_id += 1
        return self._last_id

    def send(self, command: VaultCommand, *, timeout: float = REQUEST_TIMEOUT) -> None:
        """Send a request to Vault; it is abandoned after `timeout` seconds, or sooner in an outage."""
        timeout = min(REQUEST_TIMEOUT, timeout)
        if (outage := self.session.outage) is not None:
            timeout = min(timeout, max(PROBE_TIMEOUT, (self.now - outage.since) / OUTAGE_DIVISOR))
        self.requests[command.request_id] = PendingRequest(command, self.now, self.now + timeout)
        # A login with `if_changed` only compares a file.
        if not (isinstance(command, Login) and command.if_changed):
            self.counters = replace(self.counters, requests=self.counters.requests + 1)
        self.commands.append(command)

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one line to the log."""
        self.commands.append(Log(level, event, fields))

    def random(self) -> float:
        """A number in [0, 1), by splitmix64."""
        self._random_state = (self._random_state + 0x9E3779B97F4A7C15) % 2**64
        mixed = self._random_state
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        return (mixed ^ (mixed >> 31)) / 2**64

    def failing_since(self, item: Retried) -> float:
        """When the first of the consecutive failures happened, now that one more did."""
        return item.since if item.attempts else self.now

    def retry_at(self, item: Retried, failure: Failure | None = None, *, base: float = 1.0) -> float:
        """When to retry after one more failure. The server's Retry-After takes precedence over the maximum."""
        wait = delay(item.attempts, self.random(), duration=self.now - self.failing_since(item), base=base)
        return self.now + self.at_least_retry_after(wait, failure)

    def at_least_retry_after(self, wait: float, failure: Failure | None) -> float:
        """The wait in seconds, or the server's Retry-After plus jitter if that is longer."""
        if failure is None or failure.retry_after is None:
            return wait
        return max(wait, failure.retry_after * (1 + self.random() / 10))


StateView = State | Transaction
"""The state for functions that only read it: between two steps, or during one."""
