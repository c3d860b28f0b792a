"""The subscriptions of a client (`subscriptions/listen`), in revision 2026-07-28 of the protocol.

Each is a request whose response ends the subscription. A new server gets the same requests with the same ids. The
client already has the acknowledgment of the first server, so later ones are not forwarded.
"""

from collections.abc import Iterator

from lessee.mcp.session.messages import (
    Id,
    Notification,
    Request,
    build_subscription_notification,
    decode,
    members,
    subscription_id,
)

_LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LISTS = {"toolsListChanged": "tools", "promptsListChanged": "prompts", "resourcesListChanged": "resources"}


class Subscriptions:
    """The open subscriptions, by the id of their requests."""

    def __init__(self) -> None:
        self._requests: dict[Id, Request] = {}
        self._acknowledged: set[Id] = set()
        self._repeated: set[Id] = set()
        """Subscriptions that were repeated to a new server, which has not acknowledged them."""

    def __contains__(self, identity: Id) -> bool:
        return identity in self._requests

    def __iter__(self) -> Iterator[Id]:
        return iter(self._requests)

    def add(self, request: Request) -> None:
        """Add a request that is sent to the server, if it opens a subscription."""
        if request.method == _LISTEN:
            self._requests[request.id] = request

    def remove(self, identity: Id) -> None:
        """Remove a subscription that the client has cancelled or the server has ended."""
        self._requests.pop(identity, None)
        self._acknowledged.discard(identity)
        self._repeated.discard(identity)

    def repeat(self) -> list[Request]:
        """The requests to send to a new server."""
        self._repeated = set(self._acknowledged)
        return list(self._requests.values())

    def is_repeated_acknowledgment(self, notification: Notification) -> bool:
        """Whether the client already has the acknowledgment in this notification."""
        if notification.method != _ACKNOWLEDGED:
            return False
        identity = subscription_id(notification.params)
        if identity not in self._requests:
            return False
        if identity in self._repeated:
            self._repeated.discard(identity)
            return True
        self._acknowledged.add(identity)
        return False

    def missed_notifications(self, acknowledgment: Notification) -> list[bytes]:
        """Notifications of whatever may have changed while there was no server, after an acknowledgment."""
        identity = subscription_id(acknowledgment.params)
        granted = members(bytes(members(acknowledgment.params).get("notifications", b"")))
        filters = {name: decode(raw) for name, raw in granted.items()}
        assert identity is not None
        lines = [
            build_subscription_notification(identity, f"notifications/{name}/list_changed")
            for key, name in _LISTS.items()
            if filters.get(key) is True
        ]
        uris = filters.get("resourceSubscriptions")
        updated = "notifications/resources/updated"
        return lines + [
            build_subscription_notification(identity, updated, uri=uri) for uri in uris or () if isinstance(uri, str)
        ]
