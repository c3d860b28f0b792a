"""What all places have in common where changes are told."""

from collections.abc import Callable, Sequence
from typing import Protocol

from lessee.core.change_events import Message

WAIT = 0.5
"""Seconds for which `listen` is asked to wait at the most."""


class AwayError(Exception):
    """Nobody can be heard there. The text says why, and holds no password."""


class NoEventSourceError(AwayError):
    """There is nobody who could be heard there, and that is no fault: it is looked at as without events."""

    def __init__(self, reason: str, again: Callable[[], bool]) -> None:
        """`again`: whether it is worth trying once more."""
        super().__init__(reason)
        self.again = again


class Source(Protocol):
    """One place, for one thread. All but `close` raises AwayError."""

    name: str
    """What the status calls it."""

    def open(self) -> None:
        """Hear whatever is said from now on; what was open before is closed."""
        ...

    def listen(self, wait: float) -> Sequence[Message]:
        """What has been said since, after so many seconds at the most; rubbish is left out."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
