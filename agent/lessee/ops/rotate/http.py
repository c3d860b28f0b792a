"""One HTTP request to a provider, of which nothing gets out but its status and its JSON."""

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPResponse
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from lessee import __version__
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError

_MOST = 1 << 20
_CHUNK = 65536


class Answer(ImmutableStruct, frozen=True):
    """`document` is None where the body is no JSON."""

    hidden = ("document",)

    status: int
    document: Any


class Client:
    """Asks a provider. No redirect is followed: it would carry the key away. Certificates are verified."""

    def __init__(self, *, insecure: bool) -> None:
        """`insecure`: keys may cross a network without TLS."""
        self._insecure = insecure

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: Any, *, timeout: float) -> Answer:
        """Raises SystemUnavailableError where nobody knows what was done, SystemRefusedError where it must not be asked so."""
        try:
            where = _shown(url)
            return self._ask(method, url, headers, body, timeout)
        except (ValueError, http.client.InvalidURL):  # They quote what they refuse.
            todo = "see what the recipe puts into it"
            raise SystemRefusedError("the URL or a header is none", todo=todo) from None
        except urllib.error.URLError as exc:
            raise _away(exc.reason, where) from None
        except (OSError, http.client.HTTPException) as exc:
            raise _away(exc, where) from None

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: Any, timeout: float) -> Answer:
        local = _is_loopback(url)
        if not local and not self._insecure and url.startswith("http:"):
            todo = "write https://; where there is none, `insecure: true` in the recipe allows it"
            raise SystemRefusedError("the key would cross the network in the clear", where=_shown(url), todo=todo)
        said = {"User-Agent": f"lessee/{__version__}", "Accept": "application/json", **headers}
        data = None
        if body is not None:
            said, data = {"Content-Type": "application/json", **said}, json.dumps(body).encode()
        deadline = time.monotonic() + timeout
        request = urllib.request.Request(url, data=data, headers=said, method=method)  # noqa: S310  # The recipe's grammar allows http and https alone.
        with _sent(request, timeout, local=local) as answer:
            return Answer(answer.status, _document(_read(answer, deadline)))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The redirect itself is the answer."""


def _sent(request: urllib.request.Request, timeout: float, *, local: bool) -> HTTPResponse:
    # What is meant for this machine goes through no proxy, whatever $http_proxy says.
    here = [urllib.request.ProxyHandler({})] if local else []
    try:
        answer: HTTPResponse = urllib.request.build_opener(_NoRedirect, *here).open(request, timeout=timeout)
    except urllib.error.HTTPError as exc:
        return exc  # type: ignore[return-value]  # It reads as the answer that it is.
    return answer


def _read(answer: HTTPResponse, deadline: float) -> bytes:
    """All of the body; a server that sends it drop by drop is not waited for."""
    body = bytearray()
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > _MOST:
            raise http.client.HTTPException("the answer is longer than any key")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(url: str) -> str:
    """Without the path, in which a value may stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _is_loopback(url: str) -> bool:
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(urlsplit(url).hostname, None)}
    except (OSError, UnicodeError, ValueError):
        return False
    return bool(found) and all(ip_address(address).is_loopback for address in found)


def _away(exc: object, where: str) -> SystemUnavailableError:
    match exc:
        case TimeoutError():
            why = "it does not answer in time"
        case ConnectionRefusedError():
            why = "nobody listens there"
        case http.client.HTTPException() | ConnectionError():
            why = "the connection ended without a whole answer"
        case OSError():
            # Of a certificate that is not trusted, ssl says why in an attribute of its own.
            why = str(getattr(exc, "verify_message", None) or exc.strerror or "no connection comes to be")
        case _:
            why = "no connection comes to be"
    return SystemUnavailableError(
        f"the provider is away: {why}", where=where, todo="see whether it can be reached from here"
    )
