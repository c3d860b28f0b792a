"""What a client has said while no server could hear it, in its order."""

from collections import deque
from collections.abc import Iterator

from lessee.core.mcp.messages import Id, Message, Request

_EACH = 500
"""Bytes that a message takes beside its own."""


class Held:
    """Messages, and lines that are none."""

    def __init__(self) -> None:
        self._messages: deque[Message | bytes] = deque()
        self.size = 0
        """Bytes, and some for each message."""

    def add(self, message: Message | bytes) -> None:
        """Behind the others."""
        self._messages.append(message)
        self.size += _size(message)

    def put_back(self, message: Request) -> None:
        """Before the others: it was asked already."""
        self._messages.appendleft(message)
        self.size += _size(message)

    def requests(self) -> Iterator[Request]:
        """Those that want an answer."""
        return (one for one in self._messages if isinstance(one, Request))

    def __contains__(self, identity: Id) -> bool:
        return any(one.id == identity for one in self.requests())

    def remove(self, identity: Id) -> bool:
        """The request of this id; whether there was one."""
        for one in self.requests():
            if one.id == identity:
                self._messages.remove(one)
                self.size -= _size(one)
                return True
        return False

    def take(self) -> list[Message | bytes]:
        """All; none is held any more."""
        taken = list(self._messages)
        self._messages.clear()
        self.size = 0
        return taken


def _size(message: Message | bytes) -> int:
    return _EACH + len(message if isinstance(message, bytes) else message.raw)
