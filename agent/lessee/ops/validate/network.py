"""Whether a host answers, and whether the way to it leaves this machine."""

import socket


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
