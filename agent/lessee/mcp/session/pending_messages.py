"""The client's messages that wait until a server can receive them."""

from collections import deque

from lessee.mcp.session.messages import Id, Message, Request

_OVERHEAD = 500
"""Bytes of memory that a message needs in addition to its text."""


class PendingMessages:
    """Messages and invalid lines in their order. No two requests have the same id."""

    def __init__(self) -> None:
        self._messages: deque[Message | bytes] = deque()
        self._requests: dict[Id, Request] = {}
        self.size = 0
        """Bytes of all messages, including the overhead of each."""

    def append(self, message: Message | bytes) -> None:
        """Add a message at the end."""
        self._messages.append(message)
        self._count(message)

    def prepend(self, message: Request) -> None:
        """Add a request at the front: a server that has ended had already received it."""
        self._messages.appendleft(message)
        self._count(message)

    def __contains__(self, identity: Id) -> bool:
        return identity in self._requests

    def remove(self, identity: Id) -> bool:
        """Remove the request with this id; returns whether there was one."""
        request = self._requests.pop(identity, None)
        if request is None:
            return False
        self._messages.remove(request)
        self.size -= _size(request)
        return True

    def pop_all(self) -> list[Message | bytes]:
        """Remove and return all messages."""
        messages = list(self._messages)
        self._messages.clear()
        self._requests.clear()
        self.size = 0
        return messages

    def _count(self, message: Message | bytes) -> None:
        if isinstance(message, Request):
            self._requests[message.id] = message
        self.size += _size(message)


def _size(message: Message | bytes) -> int:
    return _OVERHEAD + len(message if isinstance(message, bytes) else message.raw)
