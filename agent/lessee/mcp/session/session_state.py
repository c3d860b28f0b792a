"""The state of a session that a new server must be given: the client's parameters and subscriptions."""

from typing import Any

from lessee.mcp.session.messages import Id, Request, Response, decode, members, param_id

_LISTS = ("tools", "prompts", "resources")


class SessionState:
    """The state that results from the client's successful requests."""

    def __init__(self) -> None:
        self.initialize_params: bytes | None = None
        """The parameters of `initialize`; None: the session has not been initialized by it."""
        self.is_initialized = False
        """Whether the client has sent `notifications/initialized`."""
        self._log_level: bytes | None = None
        self._subscriptions: dict[Id, bytes] = {}
        self._server_info: dict[str, Any] = {}

    def record(self, request: Request, response: Response) -> None:
        """Update the state after a response to a request of the client."""
        if not response.result:
            return
        match request.method:
            case "initialize":
                self.initialize_params, self._server_info = request.params, initialize_result(response)
            case "logging/setLevel":
                self._log_level = request.params
            case "resources/subscribe" if (uri := param_id(request.params, "uri")) is not None:
                self._subscriptions[uri] = request.params
            case "resources/unsubscribe" if (uri := param_id(request.params, "uri")) is not None:
                self._subscriptions.pop(uri, None)
            case _:
                pass

    def replayed_requests(self) -> list[tuple[str, bytes]]:
        """The methods and parameters to send to a new server after its initialization."""
        level = [("logging/setLevel", self._log_level)] if self._log_level is not None else []
        return level + [("resources/subscribe", params) for params in self._subscriptions.values()]

    @property
    def subscribed_uris(self) -> list[Id]:
        """The resources to whose updates the client has subscribed."""
        return list(self._subscriptions)

    @property
    def listed_changes(self) -> list[str]:
        """The lists with the capability `listChanged`: another server may offer another list."""
        found = self._server_info.get("capabilities")
        capabilities = found if isinstance(found, dict) else {}
        return [
            name
            for name in _LISTS
            if isinstance(capabilities.get(name), dict) and capabilities[name].get("listChanged")
        ]

    def differences(self, server_info: dict[str, Any]) -> list[str]:
        """The members of `initialize`'s result in which a new server differs from the one that the client knows."""
        names = ("protocolVersion", "capabilities", "serverInfo", "instructions")
        return [name for name in names if server_info.get(name) != self._server_info.get(name)]


def initialize_result(response: Response) -> dict[str, Any]:
    """The result of `initialize`."""
    return {name: decode(raw) for name, raw in members(response.result).items()}
