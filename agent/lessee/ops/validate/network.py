"""Whether a host answers, and whether the way to it leaves this machine."""

import socket
from ipaddress import ip_address


def reach(host: str, port: int, timeout: float) -> str:
    """Why nobody takes a connection there; empty where somebody does."""
    try:
        socket.create_connection((host, port), timeout).close()
    except socket.gaierror:
        return "the name is not resolved"
    except TimeoutError:
        return f"nobody answers within {timeout:.0f} s"
    except (OSError, UnicodeError, OverflowError) as exc:
        return str(getattr(exc, "strerror", None) or "it is no address").lower()
    return ""


def is_loopback(host: str) -> bool:
    """Whether all addresses of the host are this machine's own loopback; False where it has none."""
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ip_address(address).is_loopback for address in found)
