"""The address of this machine that `host-gateway` means in a container, as Docker has it."""

import fcntl
import socket
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import LesseeError
from lessee.ops.dev.policy.listening import DOCKER, Listen, gateway_of_daemon, listen_word

_DAEMON = Path("/etc/docker/daemon.json")
_BRIDGE = b"docker0"
_SIOCGIFADDR = 0x8915
_REQUEST = struct.Struct("16s24x")
_ADDRESS = slice(20, 24)
"""Of an ifreq: after the name come the family and the port of a sockaddr_in."""
_ASK = ("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
_TIMEOUT = 20.0


def resolve(word: str) -> Listen:
    """What the word of `--listen` means on this machine now. Raises LesseeError, UsageError."""
    if word != DOCKER:
        return Listen(word, word)
    address = _of_daemon_file() or _of_bridge() or _of_engine()
    if not address:
        what = "no Docker Engine with a bridge network was found here"
        todo = "start it, or name an address with --listen ADDRESS (127.0.0.1: no container reaches the server)"
        raise LesseeError(what, where=_BRIDGE.decode(), todo=todo)
    return Listen(word, listen_word(address))


def _of_daemon_file() -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return gateway_of_daemon(_DAEMON.read_text(encoding="utf-8"))
    return None


def _of_bridge() -> str | None:
    """The address of docker0, which needs no Engine's socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, suppress(OSError):
        found = fcntl.ioctl(any_socket, _SIOCGIFADDR, _REQUEST.pack(_BRIDGE))
        return socket.inet_ntoa(found[_ADDRESS])
    return None


def _of_engine() -> str | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            _ASK, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
        return done.stdout.strip() if not done.returncode else None
    return None
