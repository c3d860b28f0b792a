"""Requests from a server to the client, with ids that no other server of the session uses."""

from collections.abc import Callable

from lessee.mcp.session.messages import (
    CANCELLED,
    Id,
    Notification,
    Request,
    Response,
    build_notification,
    meta_id,
    notification_with,
    param_id,
    request_with_id,
    response_with_id,
)

_REASON = "the server was restarted"


class ServerRequests:
    """The pending requests of the current server to the client.

    The ids of the first server are not changed. A later server may use the same ids, so its requests get new ones.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._is_first_server = True
        self._ids: dict[Id, Id] = {}
        """The server's id of each request, by the client's id."""
        self._tokens: dict[Id, tuple[Id, Id]] = {}
        """The server's progress token and the client's id of the request, by the client's progress token."""

    def forward(self, request: Request) -> bytes:
        """The request as it is sent to the client."""
        token = meta_id(request.params, "progressToken")
        if self._is_first_server:
            self._add(request.id, request.id, token, token)
            return request.raw
        identity = self._new_id()
        self._add(identity, request.id, identity, token)
        return request_with_id(identity, request, identity if token is not None else None)

    def forward_response(self, response: Response) -> bytes | None:
        """The client's response as it is sent to the server; None if no request with this id is pending."""
        if response.id is None or response.id not in self._ids:
            return None
        server_id = self._ids.pop(response.id)
        self._tokens = {token: pair for token, pair in self._tokens.items() if pair[1] != response.id}
        return response.raw if server_id == response.id else response_with_id(server_id, response)

    def forward_progress(self, notification: Notification) -> bytes | None:
        """The client's progress as it is sent to the server; None if no request with this token is pending."""
        token = param_id(notification.params, "progressToken")
        if token is None or token not in self._tokens:
            return None
        server_token = self._tokens[token][0]
        if server_token == token:
            return notification.raw
        return notification_with("progressToken", server_token, notification)

    def forward_notification(self, notification: Notification) -> bytes | None:
        """A notification as it is sent to the client; None if it cancels a request that is not pending."""
        if notification.method != CANCELLED:
            return notification.raw
        server_id = param_id(notification.params, "requestId")
        identity = next((client_id for client_id, known in self._ids.items() if known == server_id), None)
        if identity is None:
            return None
        return notification.raw if server_id == identity else notification_with("requestId", identity, notification)

    def cancel_all(self) -> list[bytes]:
        """Forget the requests of a server that has ended; returns their cancellations for the client."""
        lines = [build_notification(CANCELLED, {"requestId": identity, "reason": _REASON}) for identity in self._ids]
        self._ids, self._tokens, self._is_first_server = {}, {}, False
        return lines

    def _add(self, client_id: Id, server_id: Id, client_token: Id | None, server_token: Id | None) -> None:
        self._ids[client_id] = server_id
        if client_token is not None and server_token is not None:
            self._tokens[client_token] = server_token, client_id
