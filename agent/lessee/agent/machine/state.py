"""All that the agent knows under one identity, as one value."""

from collections.abc import Mapping

from msgspec import field

from lessee.agent.machine.apps.state import App, VersionReport
from lessee.agent.machine.kv.state import EventSource, KvFolder, KvMount, KvSecret
from lessee.agent.machine.leases.state import HeldLease, Issuance
from lessee.agent.machine.session.state import Session
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Ref
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


class State(ImmutableStruct, frozen=True):
    """The whole state. `random_state` is that of the random numbers, so that a step is a pure function."""

    random_state: int
    session: Session = Session()
    mounts: Mapping[str, KvMount] = field(default_factory=dict)
    folders: Mapping[Folder, KvFolder] = field(default_factory=dict)
    secrets: Mapping[Ref, KvSecret] = field(default_factory=dict)
    issuances: Mapping[DynamicSecret, Issuance] = field(default_factory=dict)
    leases: Mapping[str, HeldLease] = field(default_factory=dict)
    apps: Mapping[str, App] = field(default_factory=dict)
    version_reports: Mapping[str, VersionReport] = field(default_factory=dict)
    """By app."""
    requests: Mapping[int, PendingRequest] = field(default_factory=dict)
    event_source: EventSource = EventSource()
    moved_apps: frozenset[str] = frozenset()
    """Apps that another identity serves now, while their readers may still use leases of this one."""
    last_id: int = 0
    stopping: bool = False
    deregistering: bool = False
    counters: Counters = Counters()
