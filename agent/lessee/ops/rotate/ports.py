"""The target of a rotation, and the ports through which it reaches Vault, the clock and the log."""

from collections.abc import Callable, Iterable

from lessee.core.consumers import Consumer
from lessee.core.errors import LesseeError, NotNotifiedError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.documents import DocumentStore

LogEvent = Callable[..., None]
"""`(level, event, **fields)`; the fields hold no values of secrets."""


class BusyError(LesseeError):
    """Another rotator is rotating the target."""

    exit_code = NotNotifiedError.exit_code  # EX_TEMPFAIL


class Target(ImmutableStruct, frozen=True):
    """A rotation target: its name, its paths in Vault, its consumers, and its times in seconds."""

    name: str
    secret: str
    """The secret's path below the prefix, as consumers report it."""
    path: str
    """The secret's path below the mount."""
    journal: str
    """The journal's path below the mount."""
    consumers: tuple[str, ...]
    confirmation_timeout: float
    revoke_delay: float = 0.0
    """Seconds for which the old credential stays valid after the last confirmation."""
    has_consumers: bool = True
    """False: no agent confirms the credential, since lessee itself puts it where it is used."""
    stays_valid: bool = False
    """With a `delete_delay` the old credential is valid until it is deleted; False: it is disabled before."""
    delays_deletion: bool = True
    """Whether the kind's `delete_delay` applies; False: the old credential is deleted immediately."""
    immediate: bool = False
    """After a leak: see `Situation.immediate`."""


class Ports(ImmutableStruct, frozen=True):
    """What a rotation uses in addition to the system that owns the credential."""

    store: DocumentStore
    confirmations: Callable[[], Iterable[Consumer]]
    remove_consumer: Callable[[str], None]
    """Removes a consumer that did not confirm in time, by its name."""
    own_id: str
    """This process as the owner of a lock."""
    clock: Callable[[], float]
    """Seconds since 1970."""
    sleep: Callable[[float], None]
    log: LogEvent
    redact: Callable[[Iterable[str]], None]
    """Adds values that no log may hold."""
    new_id: Callable[[], str]
