"""One HTTP request with a credential in a header, of which the answer's status alone is wanted."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lessee import __version__
from lessee.core.immutable import ImmutableStruct
from lessee.ops.validate.network import is_loopback

_BODY = 65536
_SESSION = "Mcp-Session-Id"


class Answer(ImmutableStruct, frozen=True):
    """`status` None: there is none, and `why` says so in words without a value."""

    status: int | None
    why: str = ""
    session: str = ""
    """Of an MCP server, which it keeps until it is told to let go of it."""


def ask(
    url: str, headers: Mapping[str, str], timeout: float, *, method: str = "GET", body: bytes | None = None
) -> Answer:
    """No redirect is followed: it would carry the credential away. Certificates are verified."""
    said = {"User-Agent": f"lessee/{__version__}", **headers}  # Some providers refuse a library's own name.
    request = urllib.request.Request(url, data=body, headers=said, method=method)  # noqa: S310  # The grammar allows http and https alone.
    try:
        with _opener(url).open(request, timeout=timeout) as answer:
            answer.read1(_BODY)
            return Answer(answer.status, session=answer.headers.get(_SESSION) or "")
    except urllib.error.HTTPError as exc:
        with exc:
            return Answer(exc.code)
    except urllib.error.URLError as exc:
        return Answer(None, _reason(exc.reason, timeout))
    except (OSError, http.client.HTTPException) as exc:
        return Answer(None, _reason(exc, timeout))
    except ValueError:
        # http.client quotes what it refuses.
        return Answer(None, "the credential holds characters that no header can hold")


def bare(url: str) -> bool:
    """Whether what is sent there crosses a network in the clear."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def shown(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The redirect itself is the answer."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    # What is meant for this machine goes through no proxy, whatever $http_proxy says.
    here = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
    return urllib.request.build_opener(_NoRedirect, tls, *here)


def _reason(exc: object, timeout: float) -> str:
    match exc:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {exc.verify_message}"
        case TimeoutError():
            return f"no answer within {timeout:.0f} s"
        case ConnectionRefusedError():
            return "nobody listens there"
        case ConnectionError() | http.client.RemoteDisconnected():
            return "the connection ended without an answer"
        case ssl.SSLError():
            return "no TLS handshake is completed"
        case OSError(strerror=str() as reason):
            return reason
        case _:
            return "what answers speaks no HTTP"
