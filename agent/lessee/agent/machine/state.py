"""All that the agent knows under one identity, as one value."""

from bisect import bisect_left
from collections.abc import Mapping

from msgspec import field

from lessee.agent.machine.apps.state import APPS, App, VersionReport
from lessee.agent.machine.kv.state import FOLDERS, MOUNTS, SECRETS, EventSource, KvFolder, KvMount, KvSecret
from lessee.agent.machine.leases.state import ISSUANCES, LEASES, HeldLease, Issuance
from lessee.agent.machine.session.state import Session
from lessee.agent.machine.table import Table, TableKind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.protocol.commands import VaultCommand


class PendingRequest(ImmutableStruct, frozen=True):
    """A request under way, and when the agent stops waiting for it."""

    command: VaultCommand
    sent_at: float
    times_out_at: float


class Counters(ImmutableStruct, frozen=True):
    """Counters since the start of the process."""

    requests: int = 0
    request_failures: int = 0
    logins: int = 0
    renders: int = 0
    publications: int = 0
    notifications: int = 0
    readiness_passed: int = 0
    rollbacks: int = 0
    leases_issued: int = 0
    lease_renewals: int = 0
    leases_revoked: int = 0


ROUND_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: from one request to a server next door, to a hundred paths of a slow one."""


class Rounds(ImmutableStruct, frozen=True):
    """How long rounds take since the start of the process: from the first read of KV secrets until none is under way.

    One that ends in an outage is not counted: its duration is that of a timeout.
    """

    since: float | None = None
    """When the round under way began."""
    counts: tuple[int, ...] = (0,) * (len(ROUND_BOUNDS) + 1)
    """Of the rounds up to each bound and above the one before; the last is of those above all bounds."""
    total: float = 0.0
    """Seconds of all rounds together."""

    def ended(self, now: float) -> "Rounds":
        """With the round under way counted."""
        assert self.since is not None
        seconds = max(0.0, now - self.since)
        index = bisect_left(ROUND_BOUNDS, seconds)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return Rounds(None, counts, self.total + seconds)


VERSION_REPORTS = TableKind[VersionReport]()
DEADLINES = TableKind[float](float)
"""Of items whose deadlines depend on other items as well, and are therefore stored."""


class Deadlines(ImmutableStruct, frozen=True):
    """When a planner has something to do for an item that does not change until then."""

    apps: Table[str, float] = Table(DEADLINES)
    version_reports: Table[str, float] = Table(DEADLINES)
    """By app."""
    issuances: Table[DynamicSecret, float] = Table(DEADLINES)
    leases: Table[str, float] = Table(DEADLINES)
    """What needs no request to Vault: a lease has ended, or is forgotten."""
    renewals: Table[str, float] = Table(DEADLINES)
    revocations: Table[str, float] = Table(DEADLINES)


class State(ImmutableStruct, frozen=True):
    """The whole state. `random_state` is that of the random numbers, so that a step is a pure function."""

    random_state: int
    source: str = ""
    """The name of the source in the place of Vault, from which this machine reads; empty for a Vault."""
    session: Session = Session()
    mounts: Table[str, KvMount] = Table(MOUNTS)
    folders: Table[Folder, KvFolder] = Table(FOLDERS)
    secrets: Table[Ref, KvSecret] = Table(SECRETS)
    issuances: Table[DynamicSecret, Issuance] = Table(ISSUANCES)
    leases: Table[str, HeldLease] = Table(LEASES)
    apps: Table[str, App] = Table(APPS)
    apps_by_need: Mapping[Need, tuple[str, ...]] = field(default_factory=dict)
    """The apps that name a secret or a folder."""
    version_reports: Table[str, VersionReport] = Table(VERSION_REPORTS)
    """By app."""
    deadlines: Deadlines = Deadlines()
    requests: Mapping[int, PendingRequest] = field(default_factory=dict)
    event_source: EventSource = EventSource()
    moved_apps: frozenset[str] = frozenset()
    """Apps that another identity serves now, while their readers may still use leases of this one."""
    last_id: int = 0
    stopping: bool = False
    deregistering: bool = False
    counters: Counters = Counters()
    rounds: Rounds = Rounds()
