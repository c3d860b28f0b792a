"""The streams of notifications that a client has asked for, by the revision 2026-07-28 of the protocol.

Each is a request that is answered when the stream ends. A server that is started anew is asked for them again, by the
same ids; the client has heard its first word, the acknowledgement, already.
"""

from collections.abc import Iterator

from lessee.mcp.session.messages import Id, Notification, Request, fields, of_subscription, subscription, value

_LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LISTS = {"toolsListChanged": "tools", "promptsListChanged": "prompts", "resourcesListChanged": "resources"}


class Listening:
    """Those that are open."""

    def __init__(self) -> None:
        self._requests: dict[Id, Request] = {}
        self._acknowledged: set[Id] = set()
        self._again: set[Id] = set()
        """They were asked for anew, and the server has not acknowledged them."""

    def __contains__(self, identity: Id) -> bool:
        return identity in self._requests

    def __iter__(self) -> Iterator[Id]:
        return iter(self._requests)

    def begin(self, told: Request) -> None:
        """The server is asked this: it may be for a stream."""
        if told.method == _LISTEN:
            self._requests[told.id] = told

    def end(self, identity: Id) -> None:
        """The client does not want it any longer, or the server has ended it."""
        self._requests.pop(identity, None)
        self._acknowledged.discard(identity)
        self._again.discard(identity)

    def again(self) -> list[Request]:
        """What the next server is asked."""
        self._again = set(self._acknowledged)
        return list(self._requests.values())

    def swallows(self, told: Notification) -> bool:
        """Whether it acknowledges what the client knows to be acknowledged."""
        if told.method != _ACKNOWLEDGED:
            return False
        identity = subscription(told.params)
        if identity not in self._requests:
            return False
        if identity in self._again:
            self._again.discard(identity)
            return True
        self._acknowledged.add(identity)
        return False

    def missed(self, told: Notification) -> list[bytes]:
        """After an acknowledgement: what may have changed while no server told of it."""
        identity = subscription(told.params)
        granted = fields(bytes(fields(told.params).get("notifications", b"")))
        wanted = {name: value(raw) for name, raw in granted.items()}
        assert identity is not None
        lines = [
            of_subscription(identity, f"notifications/{name}/list_changed")
            for key, name in _LISTS.items()
            if wanted.get(key) is True
        ]
        uris = wanted.get("resourceSubscriptions")
        of_resources = "notifications/resources/updated"
        return lines + [of_subscription(identity, of_resources, uri=uri) for uri in uris or () if isinstance(uri, str)]
