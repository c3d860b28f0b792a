"""What a rotation is about, and what it works with beside the system."""

from collections.abc import Callable, Iterable

from lessee.core.consumers import Consumer
from lessee.core.errors import LesseeError, NotNotifiedError
from lessee.core.immutable import Record
from lessee.ops.rotate.documents import Kept

Tell = Callable[..., None]
"""`(level, event, **fields)`, without a value."""


class BusyError(LesseeError):
    """Another rotator is at it."""

    exit_code = NotNotifiedError.exit_code  # EX_TEMPFAIL


class Target(Record, frozen=True):
    """What is rotated: its name, where its secret and its journal lie, and for whom it waits, in seconds."""

    name: str
    secret: str
    """The secret's path below the prefix, as consumers call it."""
    path: str
    """The same below the mount."""
    journal: str
    consumers: tuple[str, ...]
    within: float
    lingers: float = 0.0
    """Seconds for which the old one stays valid after the last confirmation."""
    keeps: bool = True
    """Whether the old one is kept for so long as its kind has it; else it is removed at once."""


class World(Record, frozen=True):
    """What a rotation works with, beside the system."""

    kept: Kept
    confirmations: Callable[[], Iterable[Consumer]]
    forget: Callable[[str], None]
    """A consumer that did not confirm in time, by name."""
    holder: str
    clock: Callable[[], float]
    """Seconds since 1970."""
    sleep: Callable[[float], None]
    tell: Tell
    hide: Callable[[Iterable[str]], None]
    """Values that no log may hold."""
    new_id: Callable[[], str]
