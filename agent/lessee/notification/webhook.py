"""Notifies an app, or checks its health, by one HTTP request."""

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from lessee.config import HttpTarget
from lessee.host import http_client
from lessee.host.http_client import ErrorKind, HttpError
from lessee.notification.results import Delivered, DeliveryFailed

_SUCCESS = range(200, 300)
_UNQUOTED = "/%:@!$&'()*+,;=?~"  # RFC 3986: only characters that a request line must not contain are percent-encoded.


def call(target: HttpTarget, timeout: float) -> Delivered | DeliveryFailed:
    """Send one request with an empty body, and wait for its status for `timeout` seconds in all; 2xx is a success.

    The texts of the result name neither the URL's user and query nor a header's value.
    """
    try:
        url = urlsplit(target.url)
        label = f"{target.method} {http_client.host_of(target.url)}{url.path}"
    except ValueError:
        return _invalid_url(target)
    headers: dict[str, str | bytes] = {}
    for name, path in target.header_files.items():
        value = _header_value(name, path)
        if isinstance(value, DeliveryFailed):
            return DeliveryFailed(f"{label}: {value.reason}")
        headers[name] = value
    quoted = urlunsplit(url._replace(path=quote(url.path, safe=_UNQUOTED), query=quote(url.query, safe=_UNQUOTED)))
    try:
        response = http_client.request(target.method, quoted, headers=headers, timeout=timeout)
    except HttpError as exc:
        if exc.kind is ErrorKind.INVALID_URL:
            return _invalid_url(target)
        return DeliveryFailed(f"{label}: {exc.reason}", absent=exc.kind is ErrorKind.REFUSED)
    if response.status in _SUCCESS:
        return Delivered(f"{label} answered {response.status}")
    return DeliveryFailed(f"{label} answered {response.status}")


def _invalid_url(target: HttpTarget) -> DeliveryFailed:
    return DeliveryFailed(f"{target.method}: the URL has no valid host and port; correct it in the configuration")


def _header_value(name: str, path: str) -> bytes | DeliveryFailed:
    """The content of a file, which is read for each request: it may be a secret that rotates."""
    try:
        value = Path(path).read_bytes().strip()
    except OSError as exc:
        return DeliveryFailed(f"cannot read {path}, for the header {name}: {exc.strerror}")
    if b"\r" in value or b"\n" in value:
        return DeliveryFailed(
            f"{path}, for the header {name}, holds more than one line; write only the header's value into it"
        )
    return value
