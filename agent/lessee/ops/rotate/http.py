"""HTTP requests to a provider; only the response's status and JSON are passed on."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.host import http_client
from lessee.host.http_client import ErrorKind, HttpError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError

_BODY_LIMIT = 1 << 20


class Answer(ImmutableStruct, frozen=True):
    """A response. `document` is its JSON; None: the body is not JSON."""

    hidden = ("document",)

    status: int
    document: Any


class Client:
    """Sends requests to a provider. No redirect is followed: it would carry the key away. Certificates are verified."""

    def __init__(self, *, insecure: bool) -> None:
        """`insecure`: keys may cross a network without TLS."""
        self._insecure = insecure

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: Any, *, timeout: float) -> Answer:
        """Send one request.

        Raises SystemRefusedError where the request must not be sent, and SystemUnavailableError where nothing shows
        what the provider did.
        """
        sent: dict[str, str | bytes] = {"Accept": "application/json", **headers}
        data = None
        if body is not None:
            sent, data = {"Content-Type": "application/json", **sent}, json.dumps(body).encode()
        try:
            where = http_client.host_of(url)
            self._refuse_without_tls(url, where)
            response = http_client.request(
                method, url, headers=sent, body=data, timeout=timeout, body_limit=_BODY_LIMIT, use_proxy=True
            )
        except ValueError:
            raise _invalid("the URL is invalid") from None
        except HttpError as exc:
            if exc.kind in {ErrorKind.INVALID_URL, ErrorKind.INVALID_HEADER}:
                raise _invalid(exc.reason) from None
            todo = "check that this machine can reach the provider"
            raise SystemUnavailableError(f"provider unavailable: {exc.reason}", where=where, todo=todo) from None
        return Answer(response.status, _document(response.body))

    def _refuse_without_tls(self, url: str, where: str) -> None:
        parts = urlsplit(url)
        if self._insecure or parts.scheme != "http" or http_client.is_loopback(parts.hostname or ""):
            return
        todo = "write https://; if the provider has no TLS, `insecure: true` in the recipe allows it"
        raise SystemRefusedError("the key would cross the network without TLS", where=where, todo=todo)


def _invalid(reason: str) -> SystemRefusedError:
    # The value that is refused may be a secret, so it is not quoted.
    return SystemRefusedError(reason, todo="check what the recipe puts into the URL and the headers")


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
