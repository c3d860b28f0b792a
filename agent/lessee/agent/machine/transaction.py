"""One step of the state machine while it is under way: the state that it changes, and the commands until now."""

from typing import Protocol

from lessee.agent.machine.state import Deadlines, PendingRequest, State
from lessee.core.backoff import MAX_DELAY, OUTAGE_DIVISOR, delay
from lessee.core.failures import Failure
from lessee.core.immutable import replace
from lessee.protocol.commands import Command, Log, Login, ReadingCommand, RevokeToken, TokenCommand, VaultCommand

REQUEST_TIMEOUT = 30.0
"""Seconds after which a request is abandoned that neither succeeded nor failed by its own timeouts."""
RETRY_AFTER_JITTER = 1.1
"""The longest wait after a Retry-After, as a multiple of it."""
PROBE_TIMEOUT = 3.0
"""The same during a short outage, so that a probe that hangs does not hide that Vault is available again."""


class Retried(Protocol):
    """Something that may have failed several times in a row, the first time at `since`."""

    @property
    def attempts(self) -> int: ...

    @property
    def since(self) -> float: ...


class Transaction:
    """The state as variables and tables that handlers and planners change in place; `commit` makes a `State` of them.

    A table knows its `changes` since the start of the step: planners look at what these concern, and at what is due.
    """

    __slots__ = (
        "_last_id",
        "_random_state",
        "_state",
        "_token_requests_changed",
        "app_deadlines",
        "apps",
        "apps_by_need",
        "commands",
        "counters",
        "deregistering",
        "event_source",
        "folders",
        "issuance_deadlines",
        "issuances",
        "lease_deadlines",
        "leases",
        "mounts",
        "moved_apps",
        "now",
        "renewal_deadlines",
        "report_deadlines",
        "requests",
        "revocation_deadlines",
        "rounds",
        "secrets",
        "session",
        "source",
        "stopping",
        "version_reports",
    )

    def __init__(self, state: State, now: float) -> None:
        self.now = now
        self.commands: list[Command] = []
        self.source = state.source
        self.session = state.session
        self.mounts = state.mounts.edit()
        self.folders = state.folders.edit()
        self.secrets = state.secrets.edit()
        self.issuances = state.issuances.edit()
        self.leases = state.leases.edit()
        self.apps = state.apps.edit()
        self.apps_by_need = state.apps_by_need
        self.version_reports = state.version_reports.edit()
        self.app_deadlines = state.deadlines.apps.edit()
        self.report_deadlines = state.deadlines.version_reports.edit()
        self.issuance_deadlines = state.deadlines.issuances.edit()
        self.lease_deadlines = state.deadlines.leases.edit()
        self.renewal_deadlines = state.deadlines.renewals.edit()
        self.revocation_deadlines = state.deadlines.revocations.edit()
        self.requests = dict(state.requests)
        self.event_source = state.event_source
        self.moved_apps = state.moved_apps
        self.stopping = state.stopping
        self.deregistering = state.deregistering
        self.counters = state.counters
        self.rounds = state.rounds
        self._random_state = state.random_state
        self._last_id = state.last_id
        self._state = state
        self._token_requests_changed = False

    def commit(self) -> tuple[State, tuple[Command, ...]]:
        """The new state, and the commands for the agent."""
        self._end_round()
        state = State(
            random_state=self._random_state,
            source=self.source,
            session=self.session,
            mounts=self.mounts.freeze(),
            folders=self.folders.freeze(),
            secrets=self.secrets.freeze(),
            issuances=self.issuances.freeze(),
            leases=self.leases.freeze(),
            apps=self.apps.freeze(),
            apps_by_need=self.apps_by_need,
            version_reports=self.version_reports.freeze(),
            deadlines=Deadlines(
                apps=self.app_deadlines.freeze(),
                version_reports=self.report_deadlines.freeze(),
                issuances=self.issuance_deadlines.freeze(),
                leases=self.lease_deadlines.freeze(),
                renewals=self.renewal_deadlines.freeze(),
                revocations=self.revocation_deadlines.freeze(),
            ),
            requests=self.requests,
            event_source=self.event_source,
            moved_apps=self.moved_apps,
            last_id=self._last_id,
            stopping=self.stopping,
            deregistering=self.deregistering,
            counters=self.counters,
            rounds=self.rounds,
        )
        return state, tuple(self.commands)

    @property
    def concerns_all(self) -> bool:
        """Whether something has changed on which the deadlines of all apps and leases depend."""
        session, state = self.session, self._state
        before = state.session
        return (
            session.token is not before.token
            or session.outage is not before.outage
            or session.failure is not before.failure
            or session.renew_at != before.renew_at
            or session.replaced_tokens is not before.replaced_tokens
            or bool(self.mounts.changes)
            or self.stopping != state.stopping
            or self.deregistering != state.deregistering
            or self.moved_apps is not state.moved_apps
            or self._token_requests_changed
        )

    def new_id(self) -> int:
        """A number that no request and no job had before."""
        self._last_id += 1
        return self._last_id

    def send(self, command: VaultCommand, *, timeout: float = REQUEST_TIMEOUT) -> None:
        """Send a request to Vault; it is abandoned after `timeout` seconds, or sooner in an outage."""
        timeout = min(REQUEST_TIMEOUT, timeout)
        if (outage := self.session.outage) is not None:
            timeout = min(timeout, max(PROBE_TIMEOUT, (self.now - outage.since) / OUTAGE_DIVISOR))
            if outage.is_open:
                outage = replace(outage, is_open=False, probe=command.request_id)
                self.session = replace(self.session, outage=outage)
        self.requests[command.request_id] = PendingRequest(command, self.now, self.now + timeout)
        self._token_requests_changed |= isinstance(command, TokenCommand)
        if not isinstance(command, Login | RevokeToken):
            self._note_use()
        # A login with `if_changed` only compares a file.
        if not (isinstance(command, Login) and command.if_changed):
            self.counters = replace(self.counters, requests=self.counters.requests + 1)
        if self.rounds.since is None and isinstance(command, ReadingCommand):
            self.rounds = replace(self.rounds, since=self.now)
        self.commands.append(command)

    def _end_round(self) -> None:
        if self.rounds.since is None:
            return
        if not any(isinstance(request.command, ReadingCommand) for request in self.requests.values()):
            is_outage = self.session.outage is not None
            self.rounds = replace(self.rounds, since=None) if is_outage else self.rounds.ended(self.now)

    def _note_use(self) -> None:
        """One request more with the token: if Vault allows no other, log in before the next one."""
        session = self.session
        if session.uses_left:
            login_at = session.login_at
            if session.uses_left == 1:
                login_at = min(login_at, max(self.now, session.next_login_at))
            self.session = replace(session, uses_left=session.uses_left - 1, login_at=login_at)

    def end_request(self, request_id: int) -> PendingRequest | None:
        """The request with this number, which is under way no longer; None if it was abandoned."""
        request = self.requests.pop(request_id, None)
        self._token_requests_changed |= request is not None and isinstance(request.command, TokenCommand)
        return request

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
        """When to retry after one more failure."""
        wait = delay(item.attempts, self.random(), duration=self.now - self.failing_since(item), base=base)
        return self.now + self.at_least_retry_after(wait, failure)

    def at_least_retry_after(self, wait: float, failure: Failure | None) -> float:
        """The wait in seconds, or the server's Retry-After plus jitter if that is longer, up to the longest backoff."""
        if failure is None or failure.retry_after is None:
            return wait
        return max(wait, min(failure.retry_after, MAX_DELAY / RETRY_AFTER_JITTER) * self._jitter())

    def _jitter(self) -> float:
        return 1 + (RETRY_AFTER_JITTER - 1) * self.random()


StateView = State | Transaction
"""The state for functions that only read it: between two steps, or during one."""
