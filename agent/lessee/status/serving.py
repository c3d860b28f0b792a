"""Where a service of the operator says how it is."""

from contextlib import suppress
from pathlib import Path

from lessee.config import Config, Status
from lessee.core.errors import AgentUnavailableError, WriteError
from lessee.status.server import ask


def place(config: Config, socket: str) -> Status:
    """A file with apps is also the agent's, to whom its `status:` belongs: then it is `socket`, in `state`."""
    said, own = config.status, f"{config.state}/{socket}"
    if config.apps:
        return Status(socket=own, listen=None)
    named = said.socket != f"{config.state}/status.sock"
    return Status(socket=said.socket if named else own, listen=said.listen)


def refuse_second(socket: Path) -> None:
    """Raises WriteError where another serves there: it would not be asked any more."""
    with suppress(AgentUnavailableError):
        ask(socket, "GET", "/status.json", timeout=2.0)
        todo = "end it, or give this one another `state`"
        raise WriteError("another service answers there", where=str(socket), todo=todo)
