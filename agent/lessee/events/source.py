"""The interface of event sources, and their errors."""

from collections.abc import Callable, Sequence
from typing import Protocol

from lessee.core.change_events import Message

MAX_WAIT = 0.5
"""Seconds for which a call of `listen` waits at most."""


class SourceUnavailableError(Exception):
    """The event source cannot be reached. The text says why, and contains no password."""


class NoEventSourceError(SourceUnavailableError):
    """The server has no event stream, which is not an error: secrets are polled as without an event source."""

    def __init__(self, reason: str, may_retry: Callable[[], bool]) -> None:
        """`may_retry`: whether another attempt could succeed."""
        super().__init__(reason)
        self.may_retry = may_retry


class EventSource(Protocol):
    """An event source, for use by one thread. All methods except `close` raise SourceUnavailableError."""

    name: str
    """Its name in the status."""

    def open(self) -> None:
        """Connect, and receive the messages from now on. Closes a previous connection."""
        ...

    def listen(self, wait: float) -> Sequence[Message]:
        """The messages since the last call, after at most `wait` seconds; invalid ones are omitted."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
