"""The state of the rotation service, its events and its commands. Times are in seconds since 1970."""

from collections.abc import Mapping

from msgspec import field

from lessee.core.consumers import ConfirmationStatus, Consumer
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.journal import Journal
from lessee.ops.rotate.policy.schedule import Schedule

NEVER = float("inf")


class Settings(ImmutableStruct, frozen=True):
    """What the service needs of a target's configuration."""

    schedule: Schedule
    secret: str
    """The secret's path, as consumers report it."""
    consumers: tuple[str, ...] = ()
    confirmation_timeout: float = 300.0
    revoke_delay: float = 5.0
    manual: bool = False
    """An operator must enter each new credential; the service only reminds of it."""
    has_consumers: bool = True


class TargetState(ImmutableStruct, frozen=True):
    """A target, and what the service knows of it."""

    settings: Settings
    first_seen_at: float
    draw: float
    """The random position of the next rotation in its jitter."""
    journal: Journal | None = None
    """The journal as last read, without values; None: it has not been read."""
    confirmation: ConfirmationStatus | None = None
    failures: int = 0
    """Consecutive failures."""
    failed_at: float = 0.0
    error: str = ""
    failing_since: float = 0.0
    next_retry_at: float = 0.0
    """The service does nothing for the target before this time."""
    next_action_at: float = NEVER
    """When the next action for the target is due, apart from windows."""
    finish_only: bool = True
    """Whether that action only finishes an open rotation."""
    reminded_at: float = 0.0
    """When an operator was last reminded to enter a new credential."""
    period_error: str = ""
    """Why the target is not rotated on schedule; logged once."""


class State(ImmutableStruct, frozen=True):
    """Everything that the service knows. `random_state` yields the next draw."""

    random_state: int
    targets: Mapping[str, TargetState] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """The targets whose journals cannot be read, with the reasons."""
    rotating: frozenset[str] = frozenset()
    at: float = 0.0
    """The time of the last event."""
    reading_journals: bool = False
    reading_confirmations: bool = False
    next_check_at: float = 0.0
    last_checked_at: float = 0.0
    last_polled_at: float = 0.0
    outage_since: float = 0.0
    outage_attempts: int = 0
    outage_reason: str = ""
    outage_retry_at: float = 0.0
    login_refused: bool = False
    """Vault is available, but refuses the service's credentials."""
    stopping: bool = False
    next_work_at: float = NEVER
    """When confirmations are to be read, or a target is to be rotated."""
    wake_at: float = NEVER
    """When there is something to do, if no event arrives before."""


class Configured(ImmutableStruct, frozen=True):
    """The targets of the configuration, from now on."""

    targets: Mapping[str, Settings]


class JournalsRead(ImmutableStruct, frozen=True):
    """The result of ReadJournals: the journals that have changed, and why others cannot be read."""

    journals: Mapping[str, Journal]
    unreadable: Mapping[str, str] = field(default_factory=dict)


class ConfirmationsRead(ImmutableStruct, frozen=True):
    """The result of ReadConfirmations."""

    consumers: tuple[Consumer, ...]


class RotationEnded(ImmutableStruct, frozen=True):
    """The result of Rotate: the rotation is done, or has to wait for consumers."""

    target: str
    journal: Journal


class RotationFailed(ImmutableStruct, frozen=True):
    """The result of Rotate after an error. `journal` None: it could not be read."""

    target: str
    error: str
    journal: Journal | None = None


class RotationBusy(ImmutableStruct, frozen=True):
    """The result of Rotate where another rotator is rotating the target."""

    target: str


class VaultUnavailable(ImmutableStruct, frozen=True):
    """The result of any command while Vault is unavailable. `target`: of Rotate."""

    reason: str
    target: str | None = None


class LoginRefused(ImmutableStruct, frozen=True):
    """The result of any command while Vault refuses the service's credentials. `target`: of Rotate."""

    reason: str
    target: str | None = None


class Tick(ImmutableStruct, frozen=True):
    """Time has passed."""


class Stopping(ImmutableStruct, frozen=True):
    """The service stops, and starts nothing more."""


Event = (
    Configured
    | JournalsRead
    | ConfirmationsRead
    | RotationEnded
    | RotationFailed
    | RotationBusy
    | VaultUnavailable
    | LoginRefused
    | Tick
    | Stopping
)


class ReadJournals(ImmutableStruct, frozen=True):
    """Read the journals of these targets. `unknown`: those whose journals were never read."""

    targets: tuple[str, ...]
    unknown: frozenset[str]


class ReadConfirmations(ImmutableStruct, frozen=True):
    """Read which consumers have confirmed which versions."""


class Rotate(ImmutableStruct, frozen=True):
    """Rotate the target, unless another rotator has done so after `last_rotation`.

    `finish_only`: finish an open rotation, and start none.
    """

    target: str
    last_rotation: float
    finish_only: bool


class Log(ImmutableStruct, frozen=True):
    """Write a log line."""

    level: str
    event: str
    fields: Mapping[str, object]


Command = ReadJournals | ReadConfirmations | Rotate | Log
