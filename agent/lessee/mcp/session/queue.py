"""What a client has said while no server could hear it, in its order."""

from collections import deque

from lessee.mcp.session.messages import Id, Message, Request

_EACH = 500
"""Bytes that a message takes beside its own."""


class Held:
    """Messages, and lines that are none. No two requests have one id."""

    def __init__(self) -> None:
        self._messages: deque[Message | bytes] = deque()
        self._requests: dict[Id, Request] = {}
        self.size = 0
        """Bytes, and some for each message."""

    def add(self, message: Message | bytes) -> None:
        """Behind the others."""
        self._messages.append(message)
        self._count(message)

    def put_back(self, message: Request) -> None:
        """Before the others: it was asked already."""
        self._messages.appendleft(message)
        self._count(message)

    def __contains__(self, identity: Id) -> bool:
        return identity in self._requests

    def remove(self, identity: Id) -> bool:
        """The request of this id; whether there was one."""
        found = self._requests.pop(identity, None)
        if found is None:
            return False
        self._messages.remove(found)
        self.size -= _size(found)
        return True

    def take(self) -> list[Message | bytes]:
        """All; none is held any more."""
        taken = list(self._messages)
        self._messages.clear()
        self._requests.clear()
        self.size = 0
        return taken

    def _count(self, message: Message | bytes) -> None:
        if isinstance(message, Request):
            self._requests[message.id] = message
        self.size += _size(message)


def _size(message: Message | bytes) -> int:
    return _EACH + len(message if isinstance(message, bytes) else message.raw)
