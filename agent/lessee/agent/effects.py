"""What the agent works with on this host: the stores for files and state, and the parts of the process."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lessee.config import App
from lessee.core.errors import WriteError
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.redaction import Redactor
from lessee.core.tokens import Token
from lessee.host.clock import ClockPeriod
from lessee.protocol.events import AppRecovered, FilesChecked

if TYPE_CHECKING:
    from lessee.agent.child_supervisor import ChildSupervisor
    from lessee.telemetry.span_exporter import SpanExport


class PublicationStore(Protocol):
    """Where generations are published. Methods that write raise WriteError."""

    @property
    def refused(self) -> Mapping[str, WriteError]: ...

    def open(self, apps: Iterable[App], *, strict: bool = True) -> Mapping[str, AppRecovered]: ...

    def reopen(self, app: str) -> AppRecovered | None: ...

    def stage(self, generation: Generation) -> Path | None: ...

    def discard(self, app: str) -> None: ...

    def publish(
        self, generation: Generation, *, notify: bool, probe: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]: ...

    def roll_back(self, app: str, to: int, *, failed_fingerprint: str, notify: bool) -> None: ...

    def mark_ready(self, app: str) -> None: ...

    def allow_retry(self, app: str) -> None: ...

    def mark_notified(self, app: str) -> None: ...

    def prune(self, app: str, numbers: Collection[int]) -> None: ...

    def withdraw(self, app: str) -> None: ...

    def check_files(self, app: str, *, notify: bool, touched: Callable[[], None]) -> FilesChecked: ...


class StateStore(Protocol):
    """Where tokens and leases outlive the agent, by identity. Methods that write raise WriteError."""

    def listed(self) -> AbstractContextManager[None]: ...

    def identities(self) -> Mapping[str, bytes]: ...

    def store_identity(self, identity: str, block: bytes) -> None: ...

    def forget_identity(self, identity: str) -> None: ...

    def tokens(self, identity: str) -> Sequence[tuple[Token, str]]: ...

    def store_token(self, identity: str, token: Token, value: str) -> None: ...

    def forget_token(self, identity: str, token_id: str) -> None: ...

    def leases(self, identity: str) -> Sequence[Lease]: ...

    def store_lease(self, identity: str, lease: Lease) -> None: ...

    def forget_lease(self, identity: str, lease_id: str) -> None: ...

    def clock_periods(self) -> Sequence[ClockPeriod]: ...

    def store_clock_periods(self, periods: Iterable[ClockPeriod]) -> None: ...


class Effects(ImmutableStruct, frozen=True):
    """What the agent works with. `environ` is its own environment."""

    publication_store: PublicationStore
    state_store: StateStore
    redactor: Redactor
    environ: Mapping[str, str]
    supervisor: "ChildSupervisor | None" = None
    """Runs the child of `lessee exec`."""
    tracing: "SpanExport | None" = None
