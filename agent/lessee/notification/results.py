"""How telling an app went."""

from lessee.core.immutable import Record


class Done(Record, frozen=True):
    """It has been told, or needed no telling."""

    how: str


class DeliveryFailed(Record, frozen=True):
    """It has not been told. `absent`: nobody was there to be told."""

    why: str
    absent: bool = False
    retry_in: float | None = None
    """Seconds, where a backoff would be too slow."""
    deadly: bool = False
    """It would have died of it."""
