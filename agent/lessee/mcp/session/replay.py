"""Tells a server that is started anew what the session was told, by requests of ours."""

from collections.abc import Callable

from lessee.mcp.session.memory import Memory, hello_of
from lessee.mcp.session.messages import INITIALIZED, Answer, Id, notification, request, value


class Replaying:
    """Of one session; what is asked of a server is forgotten with it."""

    def __init__(self, memory: Memory, new_id: Callable[[], str]) -> None:
        self._memory = memory
        self._new_id = new_id
        self._own: dict[Id, str] = {}
        """Requests of ours that are not answered, and their methods."""

    def __contains__(self, identity: Id) -> bool:
        return identity in self._own

    def forget(self) -> None:
        """That server has ended."""
        self._own = {}

    def begin(self) -> bytes | None:
        """What it is asked first; None where the session has not begun so."""
        if self._memory.initialize is None:
            return None
        return self._ask("initialize", self._memory.initialize)

    def answered(self, identity: Id) -> str:
        """The method of that request, which is no more."""
        return self._own.pop(identity)

    def rest(self) -> list[bytes]:
        """What it is told when it has answered the first."""
        first = [notification(INITIALIZED)] if self._memory.initialized else []
        return first + [self._ask(method, params) for method, params in self._memory.requests()]

    def differences(self, answer: Answer) -> list[str]:
        """What it says otherwise than the one did that the client knows."""
        return self._memory.differences(hello_of(answer))

    def missed(self) -> list[bytes]:
        """What the client is told: what may have changed while no server told of it."""
        if not self._memory.initialized:
            return []
        lines = [notification(f"notifications/{name}/list_changed") for name in self._memory.changing]
        return lines + [notification("notifications/resources/updated", {"uri": uri}) for uri in self._memory.uris]

    def _ask(self, method: str, params: bytes) -> bytes:
        identity = self._new_id()
        self._own[identity] = method
        return request(identity, method, params)


def reason(answer: Answer) -> str:
    """Why it refuses."""
    told = value(answer.error)
    return str(told.get("message", told)) if isinstance(told, dict) else str(told)
