"""One HTTP request, of which nothing gets into a log but the server's name and the reason of a failure."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from lessee import __version__

TIMEOUT = 10.0
_MOST = 4 << 20
_CHUNK = 65536
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_UNFIT = frozenset({400, 413, 415, 422})
"""RFC 9110: the message itself will not do."""


class DeliveryFailedError(Exception):
    """Nobody took it. The text holds no part of the URL but the host."""

    def __init__(self, why: str, *, unfit: bool = False) -> None:
        super().__init__(why)
        self.unfit = unfit
        """It was refused for what it is."""


def ask(
    url: str,
    body: Any = None,
    *,
    header_files: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    timeout: float = TIMEOUT,
) -> bytes:
    """GET, or POST where there is a body, which goes as JSON. No redirect is followed. Raises DeliveryFailedError."""
    try:
        parts = urlsplit(url)
        user, _, where = parts.netloc.rpartition("@")
        told = {"User-Agent": f"lessee/{__version__}", **(headers or {}), **_read_headers(header_files or {})}
        if user:
            url = urlunsplit(parts._replace(netloc=where))
            told["Authorization"] = "Basic " + b64encode(unquote(user).encode()).decode()
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            told["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, headers=told)  # noqa: S310  # The grammar allows http and https.
        return _answer(request, timeout, ca_file)
    except (ValueError, http.client.InvalidURL):  # They quote what they refuse.
        raise DeliveryFailedError("the URL or a header is none; correct it in the configuration") from None
    except urllib.error.HTTPError as exc:
        with exc:
            raise DeliveryFailedError(f"{where} answered {exc.code}", unfit=exc.code in _UNFIT) from None
    except urllib.error.URLError as exc:
        raise DeliveryFailedError(f"{where}: {_reason(exc.reason)}") from None
    except (OSError, http.client.HTTPException) as exc:
        raise DeliveryFailedError(f"{where}: {_reason(exc)}") from None


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Certificates are verified: by these authorities, or the machine's. Raises DeliveryFailedError."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):
        raise DeliveryFailedError(f"{ca_file} holds no certificates that can be read") from None


def content(path: str) -> str:
    """The one line of a file; it may be a secret that rotates. Raises DeliveryFailedError."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        raise DeliveryFailedError(
            f"{path} cannot be read: {getattr(exc, 'strerror', None) or 'it is no text'}"
        ) from None
    if not text or not text.isprintable():
        raise DeliveryFailedError(f"{path} holds no single line; leave the value alone in it")
    return text


def _read_headers(files: Mapping[str, str]) -> dict[str, str]:
    return {name: content(path) for name, path in files.items()}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The redirect is an answer like another: it would carry a secret header away."""


def _answer(request: urllib.request.Request, timeout: float, ca_file: str | None) -> bytes:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if (urlsplit(request.full_url).hostname or "") in _HERE:
        # What is meant for this machine goes through no proxy, whatever $http_proxy says.
        handlers.append(urllib.request.ProxyHandler({}))
    if request.type == "https":
        handlers.append(urllib.request.HTTPSHandler(context=trusting(ca_file)))
    deadline = monotonic() + timeout
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
        body = bytearray()
        while chunk := answer.read1(_CHUNK):
            body += chunk
            if len(body) > _MOST or monotonic() > deadline:
                raise TimeoutError
        return bytes(body)


def _reason(exc: object) -> str:
    # http.client's own texts repeat what was sent or received.
    match exc:
        case TimeoutError():
            return f"no whole answer within {TIMEOUT:g} s"
        case ConnectionRefusedError():
            return "nobody listens there"
        case ConnectionError() | http.client.HTTPException():
            return "the connection ended without a whole answer"
        case OSError():
            # Of a certificate that is not trusted, ssl says why in an attribute of its own.
            return str(getattr(exc, "verify_message", None) or exc.strerror or "no connection comes to be")
        case _:
            return "no connection comes to be"
