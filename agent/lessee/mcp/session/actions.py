"""The actions that a session returns, and the events that its relay reports."""

from collections.abc import Mapping

from lessee.core.immutable import ImmutableStruct


class SendToClient(ImmutableStruct, frozen=True):
    """Send a line to the client; `line` is without its line end."""

    hidden = ("line",)

    line: bytes


class SendToServer(ImmutableStruct, frozen=True):
    """Send a line to the server; `line` is without its line end."""

    hidden = ("line",)

    line: bytes


class CloseInput(ImmutableStruct, frozen=True):
    """Close the server's input once all lines are sent."""


class ServerResponded(ImmutableStruct, frozen=True):
    """Report that the server has sent its first response."""


class Drained(ImmutableStruct, frozen=True):
    """Report that no request is pending at this server, or the drain timeout has passed: it can be stopped."""


class ServerUnusable(ImmutableStruct, frozen=True):
    """Report that the session cannot continue with this server."""

    reason: str


class Log(ImmutableStruct, frozen=True):
    """Log an event."""

    level: str
    event: str
    fields: Mapping[str, object] = {}


class ServerEvent(ImmutableStruct, frozen=True):
    """An event of one of the servers; the first server has the number 1."""

    server: int
    event: ServerResponded | Drained | ServerUnusable


class ClientClosed(ImmutableStruct, frozen=True):
    """The client has closed its output."""


Action = SendToClient | SendToServer | CloseInput | ServerResponded | Drained | ServerUnusable | Log
