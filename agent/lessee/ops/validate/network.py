"""Connects to systems, and sends HTTP requests that verify a credential by the response's status."""

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.host import http_client
from lessee.host.http_client import HttpError

_SESSION = "Mcp-Session-Id"


def connection_error(host: str, port: int, timeout: float) -> str:
    """Why no TCP connection is possible; empty where it is."""
    try:
        socket.create_connection((host, port), timeout).close()
    except socket.gaierror:
        return "the name cannot be resolved"
    except TimeoutError:
        return f"no answer within {timeout:.0f} s"
    except (OSError, UnicodeError, OverflowError) as exc:
        return str(getattr(exc, "strerror", None) or "not a valid address").lower()
    return ""


class Answer(ImmutableStruct, frozen=True):
    """A response. `status` None: there is no response; `error` says why, without a value."""

    status: int | None
    error: str = ""
    session: str = ""
    """The session of an MCP server, which lasts until a client ends it."""


def send(
    url: str, headers: Mapping[str, str], timeout: float, *, method: str = "GET", body: bytes | None = None
) -> Answer:
    """Send one request. No redirect is followed: it would send the credential elsewhere. Certificates are verified."""
    try:
        response = http_client.request(method, url, headers=dict(headers), body=body, timeout=timeout, use_proxy=True)
    except HttpError as exc:
        return Answer(None, exc.reason)
    return Answer(response.status, session=response.headers.get(_SESSION) or "")


def is_plaintext(url: str) -> bool:
    """Whether a request would cross a network without TLS."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not http_client.is_loopback(parts.hostname or "")


def displayed(url: str) -> str:
    """The URL without its user and query, which may be secret."""
    return f"{http_client.host_of(url)}{urlsplit(url).path}"
