"""What a client has told its server for the whole of a session, so that the next server can be told the same."""

from typing import Any

from lessee.mcp.session.messages import Answer, Id, Request, fields, named, value

_LISTS = ("tools", "prompts", "resources")


class Memory:
    """Of requests that were answered well."""

    def __init__(self) -> None:
        self.initialize: bytes | None = None
        """The parameters of `initialize`; None: there is nothing to be told."""
        self.initialized = False
        """The client has said that it is ready."""
        self._level: bytes | None = None
        self._subscriptions: dict[Id, bytes] = {}
        self._hello: dict[str, Any] = {}

    def note(self, asked: Request, answer: Answer) -> None:
        """The server has answered this."""
        if not answer.result:
            return
        match asked.method:
            case "initialize":
                self.initialize, self._hello = asked.params, hello_of(answer)
            case "logging/setLevel":
                self._level = asked.params
            case "resources/subscribe" if (uri := named(asked.params, "uri")) is not None:
                self._subscriptions[uri] = asked.params
            case "resources/unsubscribe" if (uri := named(asked.params, "uri")) is not None:
                self._subscriptions.pop(uri, None)
            case _:
                pass

    def requests(self) -> list[tuple[str, bytes]]:
        """What the next server is to be asked when it is initialized: methods and parameters."""
        level = [("logging/setLevel", self._level)] if self._level is not None else []
        return level + [("resources/subscribe", params) for params in self._subscriptions.values()]

    @property
    def uris(self) -> list[Id]:
        """The resources of which the client wants to hear."""
        return list(self._subscriptions)

    @property
    def changing(self) -> list[str]:
        """The lists of which the server has said that it tells of changes: what another may offer may be another."""
        told = self._hello.get("capabilities")
        told = told if isinstance(told, dict) else {}
        return [name for name in _LISTS if isinstance(told.get(name), dict) and told[name].get("listChanged")]

    def differences(self, hello: dict[str, Any]) -> list[str]:
        """What another server says otherwise than the one did that the client knows."""
        names = ("protocolVersion", "capabilities", "serverInfo", "instructions")
        return [name for name in names if hello.get(name) != self._hello.get(name)]


def hello_of(answer: Answer) -> dict[str, Any]:
    """What a server says to `initialize`."""
    return {name: value(raw) for name, raw in fields(answer.result).items()}
