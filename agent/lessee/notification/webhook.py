"""Makes one HTTP request that tells an app, or asks how it is."""

import base64
import socket
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from lessee.config import ByHttp
from lessee.core.immutable import replace
from lessee.notification.results import DeliveryFailed, Done

_LONGEST = 86400.0  # A socket counts milliseconds in an int.
_BODY = 65536
_GOOD = range(200, 300)
_NO_ADDRESS = "the URL has no valid host and port; correct it in the configuration"
_UNQUOTED = "/%:@!$&'()*+,;=?~"  # Of RFC 3986, so that only what no request line may hold is written otherwise.


def call(target: ByHttp, timeout: float) -> Done | DeliveryFailed:
    """Ask once, with an empty body, within `timeout` seconds in all; no redirect is followed.

    The status line is the answer: 2xx is good. The texts hold neither the URL's query and user nor a header's value.
    """
    timeout = min(timeout, _LONGEST)
    try:
        url = urlsplit(target.url)
        connection = _connection(url, timeout)
    except (ValueError, InvalidURL):
        return DeliveryFailed(f"{target.method}: {_NO_ADDRESS}")
    name = f"{target.method} {url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    headers = _headers(target, url)
    if isinstance(headers, DeliveryFailed):
        return DeliveryFailed(f"{name}: {headers.why}")
    answers: list[HTTPResponse | DeliveryFailed] = []

    def ask() -> None:
        with closing(connection):
            answers.append(_ask(connection, target.method, _path(url), headers))
            _read(answers[0])

    # A resolver, or a server that sends a byte now and then, keeps to no socket's time-out.
    asking = threading.Thread(target=ask, name="lessee-webhook", daemon=True)
    asking.start()
    asking.join(timeout)
    answer = answers[0] if answers else DeliveryFailed(f"no answer within {timeout:g} s")
    _hang_up(connection)
    if isinstance(answer, DeliveryFailed):
        return replace(answer, why=f"{name}: {answer.why}")
    return (
        Done(f"{name}: {answer.status}")
        if answer.status in _GOOD
        else DeliveryFailed(f"{name} answered {answer.status}")
    )


def _connection(url: SplitResult, timeout: float) -> HTTPConnection:
    """To where the URL points; nothing is sent yet. Raises ValueError or InvalidURL."""
    if not url.hostname:
        raise ValueError
    if url.scheme == "https":
        return HTTPSConnection(url.hostname, url.port or 443, timeout=timeout)
    return HTTPConnection(url.hostname, url.port or 80, timeout=timeout)


def _path(url: SplitResult) -> str:
    return quote(f"{url.path or '/'}{url.query and '?'}{url.query}", safe=_UNQUOTED)


def _headers(target: ByHttp, url: SplitResult) -> dict[str, bytes] | DeliveryFailed:
    """The files are read each time: they may be secrets that rotate."""
    headers = {}
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers["Authorization"] = b"Basic " + base64.b64encode(pair.encode())
    for header, path in target.header_files.items():
        try:
            value = Path(path).read_bytes().strip()
        except OSError as exc:
            return DeliveryFailed(f"{path}, for the header {header}, cannot be read: {exc.strerror}")
        if b"\r" in value or b"\n" in value:
            return DeliveryFailed(
                f"{path}, for the header {header}, holds more than one line; leave the value alone in it"
            )
        headers[header] = value
    return headers


def _ask(
    connection: HTTPConnection, method: str, path: str, headers: Mapping[str, bytes]
) -> HTTPResponse | DeliveryFailed:
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse()
    except ConnectionRefusedError:
        return DeliveryFailed("nobody listens there", absent=True)
    except TimeoutError:
        return DeliveryFailed(f"no answer within {connection.timeout:g} s")
    except (OSError, HTTPException, ValueError) as exc:
        return DeliveryFailed(_reason(exc))


def _read(answer: HTTPResponse | DeliveryFailed) -> None:
    """Take what is there of the body: many a server complains of a client that leaves before it."""
    if isinstance(answer, HTTPResponse):
        with answer, suppress(OSError, HTTPException):
            answer.read1(_BODY)


def _reason(exc: Exception) -> str:
    # http.client's own texts repeat what was sent or received, which can hold a value.
    match exc:
        case ConnectionError():
            return "the connection ended without an answer"
        case OSError(strerror=str() as reason):
            return reason
        case UnicodeError():
            return _NO_ADDRESS
        case _:
            return "what answers speaks no HTTP"


def _hang_up(connection: HTTPConnection) -> None:
    """Let go of a thread that is still reading."""
    if (still_open := connection.sock) is not None:
        with suppress(OSError):
            still_open.shutdown(socket.SHUT_RDWR)
