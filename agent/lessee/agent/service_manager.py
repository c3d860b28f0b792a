"""Reports readiness to systemd, or to Podman for a container, as sd_notify(3) describes."""

import socket
from collections.abc import Callable, Mapping, Sequence

from lessee.agent.machine.state import State
from lessee.agent.machine.status.view import ready
from lessee.process.protected_fork import notify_address, notify_ready
from lessee.telemetry.logs import log


def readiness_notifier(environ: Mapping[str, str]) -> Callable[[Sequence[State]], None]:
    """A function to call in each turn of the loop: it notifies $NOTIFY_SOCKET once every app has its files."""
    pending = [address] if (address := environ.get("NOTIFY_SOCKET")) else []

    def notify(states: Sequence[State]) -> None:
        if pending and all(map(ready, states)) and _notify(pending[0]):
            pending.clear()

    return notify


def _notify(address: str) -> bool:
    """Whether no further attempt is needed. False if the socket's queue is full, which blocks nothing else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as manager:
        try:
            manager.connect(notify_address(address))
            if not notify_ready():
                manager.send(b"READY=1")
        except BlockingIOError:
            return False
        except OSError as exc:
            # The service manager will time out, and log that. The apps have their files.
            log("warning", "service manager not notified", socket=address, reason=exc.strerror or str(exc))
    return True
