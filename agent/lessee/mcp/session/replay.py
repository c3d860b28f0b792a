"""Replays the state of a session to a new server, by requests of the relay's own."""

from collections.abc import Callable

from lessee.mcp.session.messages import INITIALIZED, Id, Response, build_notification, build_request, decode
from lessee.mcp.session.session_state import SessionState, initialize_result


class Replay:
    """The replay to one server."""

    def __init__(self, state: SessionState, new_id: Callable[[], str]) -> None:
        self._state = state
        self._new_id = new_id
        self._pending: dict[Id, str] = {}
        """The relay's own requests without a response, and their methods."""

    def __contains__(self, identity: Id) -> bool:
        return identity in self._pending

    def reset(self) -> None:
        """Forget the requests to a server that has ended."""
        self._pending = {}

    def initialize(self) -> bytes | None:
        """The first request to a new server; None if the session was not initialized by `initialize`."""
        if self._state.initialize_params is None:
            return None
        return self._request("initialize", self._state.initialize_params)

    def pop(self, identity: Id) -> str:
        """The method of the pending request with this id, which now has its response."""
        return self._pending.pop(identity)

    def remaining_messages(self) -> list[bytes]:
        """The messages to send once the server has responded to `initialize`."""
        first = [build_notification(INITIALIZED)] if self._state.is_initialized else []
        return first + [self._request(method, params) for method, params in self._state.replayed_requests()]

    def differences(self, response: Response) -> list[str]:
        """The members in which the new server's result of `initialize` differs from the one that the client knows."""
        return self._state.differences(initialize_result(response))

    def missed_notifications(self) -> list[bytes]:
        """Notifications to the client of whatever may have changed while there was no server."""
        if not self._state.is_initialized:
            return []
        lines = [build_notification(f"notifications/{name}/list_changed") for name in self._state.listed_changes]
        updated = "notifications/resources/updated"
        return lines + [build_notification(updated, {"uri": uri}) for uri in self._state.subscribed_uris]

    def _request(self, method: str, params: bytes) -> bytes:
        identity = self._new_id()
        self._pending[identity] = method
        return build_request(identity, method, params)


def error_message(response: Response) -> str:
    """The message of an error response."""
    error = decode(response.error)
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
