"""The status socket of an operator's service: the rotator or the monitor."""

from contextlib import suppress
from pathlib import Path

from lessee.config import Config, Status
from lessee.core.errors import AgentUnavailableError, WriteError
from lessee.status.client import request_status


def status_settings(config: Config, socket: str) -> Status:
    """The service's `status`. In a file with apps, `status` is the agent's, and the service uses `socket` instead."""
    configured, own = config.status, f"{config.state_dir}/{socket}"
    if config.apps:
        return Status(socket=own, listen=None)
    is_default = configured.socket == f"{config.state_dir}/status.sock"
    return Status(socket=own if is_default else configured.socket, listen=configured.listen)


def refuse_used_socket(socket: Path) -> None:
    """Raise WriteError if another service uses the socket: this service would take it over."""
    with suppress(AgentUnavailableError):
        request_status(socket, "GET", "/status.json", timeout=2.0)
        todo = "stop it, or give this service another `state_dir`"
        raise WriteError("another service answers on this socket", where=str(socket), todo=todo)
