"""HTTP requests that try a credential; only the response's status counts."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.host import http_client
from lessee.host.http_client import HttpError

_SESSION = "Mcp-Session-Id"


class Answer(ImmutableStruct, frozen=True):
    """`status` None: there is no response, and `why` says so without a value."""

    status: int | None
    why: str = ""
    session: str = ""
    """The session of an MCP server, which keeps it until a client ends it."""


def ask(
    url: str, headers: Mapping[str, str], timeout: float, *, method: str = "GET", body: bytes | None = None
) -> Answer:
    """Send one request. No redirect is followed: it would carry the credential away. Certificates are verified."""
    try:
        response = http_client.request(method, url, headers=dict(headers), body=body, timeout=timeout, use_proxy=True)
    except HttpError as exc:
        return Answer(None, exc.reason)
    return Answer(response.status, session=response.headers.get(_SESSION) or "")


def bare(url: str) -> bool:
    """Whether a request would cross a network without TLS."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not http_client.is_loopback(parts.hostname or "")


def shown(url: str) -> str:
    """The URL without its user and query, which may be secret."""
    return f"{http_client.host_of(url)}{urlsplit(url).path}"
