"""The result of notifying an app."""

from lessee.core.immutable import ImmutableStruct
from lessee.host.procfs import ProcessIdentity


class Delivered(ImmutableStruct, frozen=True):
    """The app was notified, or needed no notification; `how` says which."""

    how: str
    process: ProcessIdentity | None = None
    """The process that got a signal, and may have ended by it."""


class DeliveryFailed(ImmutableStruct, frozen=True):
    """The app was not notified. `absent`: there is no process, container or server to notify."""

    reason: str
    absent: bool = False
    retry_in: float | None = None
    """Seconds, where a backoff would be too slow."""
    would_terminate: bool = False
    """The signal would have terminated the process, so it was not sent."""
