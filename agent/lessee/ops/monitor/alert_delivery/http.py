"""HTTP requests to the receivers of alerts; only the server's name and the reason of a failure are ever logged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lessee.host import http_client
from lessee.host.http_client import ErrorKind, HttpError
from lessee.host.tls import CaFileError, Context, client_context

TIMEOUT = 10.0
_BODY_LIMIT = 4 << 20
_SUCCESS = range(200, 300)
_REJECTED = frozenset({400, 413, 415, 422})
"""RFC 9110: the receiver rejects the message itself."""


class DeliveryFailedError(Exception):
    """The receiver did not accept it. The text holds no part of the URL but the host."""

    def __init__(self, why: str, *, rejected: bool = False) -> None:
        super().__init__(why)
        self.rejected = rejected
        """Another attempt with the same message would fail too."""


def ask(
    url: str,
    body: Any = None,
    *,
    header_files: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    timeout: float = TIMEOUT,
) -> bytes:
    """Send a GET, or a POST with `body` as JSON, and return the response's body. Raises DeliveryFailedError."""
    sent: dict[str, str | bytes] = {**(headers or {}), **_read_headers(header_files or {})}
    data = None
    if body is not None:
        data = json.dumps(body, ensure_ascii=False).encode()
        sent["Content-Type"] = "application/json"
    try:
        server = http_client.host_of(url).partition("://")[2]
        response = http_client.request(
            "GET" if data is None else "POST",
            url,
            headers=sent,
            body=data,
            timeout=timeout,
            body_limit=_BODY_LIMIT,
            ca_file=ca_file,
            use_proxy=True,
        )
    except ValueError:
        raise DeliveryFailedError("the URL is invalid; correct it in the configuration") from None
    except HttpError as exc:
        if exc.kind in {ErrorKind.INVALID_URL, ErrorKind.INVALID_HEADER}:
            raise DeliveryFailedError(f"{exc.reason}; correct it in the configuration") from None
        raise DeliveryFailedError(f"{server}: {exc.reason}") from None
    if response.status not in _SUCCESS:
        raise DeliveryFailedError(f"{server} answered {response.status}", rejected=response.status in _REJECTED)
    return response.body


def trusting(ca_file: str | None) -> Context:
    """A context that verifies certificates by this CA file, or by the machine's. Raises DeliveryFailedError."""
    try:
        return client_context(ca_file)
    except CaFileError as exc:
        raise DeliveryFailedError(str(exc)) from None


def content(path: str) -> str:
    """The one line of a file, which may be a secret that rotates. Raises DeliveryFailedError."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise DeliveryFailedError(f"cannot read {path}: {reason}") from None
    if not text or not text.isprintable():
        raise DeliveryFailedError(f"{path} does not hold exactly one line; write only the value into it")
    return text


def _read_headers(files: Mapping[str, str]) -> dict[str, str]:
    return {name: content(path) for name, path in files.items()}
