"""Tells the service manager that all is there, as sd_notify(3) has it: systemd, and Podman for a container."""

import socket
from collections.abc import Callable, Mapping, Sequence

from lessee.agent.machine.state import State
from lessee.agent.machine.status.view import ready
from lessee.telemetry.logs import log


def announcing(environ: Mapping[str, str]) -> Callable[[Sequence[State]], None]:
    """What is to be asked at each turn; the first time that every app has its files, $NOTIFY_SOCKET is told."""
    waiting = [address] if (address := environ.get("NOTIFY_SOCKET")) else []

    def look(states: Sequence[State]) -> None:
        if waiting and all(map(ready, states)) and _is_told(waiting[0]):
            waiting.clear()

    return look


def _is_told(address: str) -> bool:
    """Or cannot be; False where its queue is full just now, for which nothing else has to wait."""
    # A leading @ stands for the NUL of the abstract namespace, unix(7).
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as manager:
        try:
            manager.sendto(b"READY=1", name)
        except BlockingIOError:
            return False
        except OSError as exc:
            # It waits in vain, and says so; the app has its files all the same.
            log("warning", "cannot tell the service manager", socket=address, reason=exc.strerror or str(exc))
    return True
