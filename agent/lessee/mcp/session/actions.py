"""What is to be done for a session."""

from collections.abc import Mapping

from lessee.core.immutable import Record


class ToClient(Record, frozen=True):
    """A line, without its end."""

    hidden = ("line",)

    line: bytes


class ToServer(Record, frozen=True):
    """A line, without its end."""

    hidden = ("line",)

    line: bytes


class CloseInput(Record, frozen=True):
    """The server's, when it has all that was for it."""


class Works(Record, frozen=True):
    """The server has answered for the first time."""


class Drained(Record, frozen=True):
    """Nobody waits for this server any more, or for long enough: it may be told to end."""


class UnusableError(Record, frozen=True):
    """The session cannot go on with this server."""

    why: str


class Say(Record, frozen=True):
    """An event for the log."""

    level: str
    event: str
    fields: Mapping[str, object] = {}


class About(Record, frozen=True):
    """What has come of one of the servers, the first of which is 1."""

    server: int
    what: Works | Drained | UnusableError


class Gone(Record, frozen=True):
    """The client says nothing more."""


Action = ToClient | ToServer | CloseInput | Works | Drained | UnusableError | Say
