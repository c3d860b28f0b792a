"""The sink that knows which agents the audit log shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import MsgspecError

from lessee.host.clock import wall_time
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.clients import Clients
from lessee.ops.monitor.policy.fleet import Reporters, from_log


class FleetSink:
    """Its state is bounded by the number of clients, and of secrets that each reads."""

    name = "fleet"

    def __init__(self, environments: Sequence[str]) -> None:
        self._environments = environments
        self._reporters, self._clients = Reporters(), Clients(environments)

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        for entry in entries:
            self._reporters.take(entry.access)
            self._clients.take(entry.access)

    def tick(self, now: float) -> None:
        """See Sink."""
        self._clients.prune(now)

    def state(self) -> Any:
        """See Sink."""
        return {"reporters": self._reporters.state(), "clients": self._clients.state()}

    def restore(self, state: Any) -> None:
        """See Sink."""
        reporters, clients = Reporters(), Clients(self._environments)
        try:
            reporters.restore(state["reporters"])
            clients.restore(state["clients"])
        except (TypeError, ValueError, KeyError, MsgspecError):
            raise ValueError from None
        self._reporters, self._clients = reporters, clients

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        return {"fleet": from_log(self._reporters, self._clients, wall_time())}

    def close(self) -> None:
        """See Sink."""
