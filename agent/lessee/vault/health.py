"""Reads sys/health of each address, which takes no token."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from lessee.core.immutable import ImmutableStruct
from lessee.vault.connections import Address, Connector
from lessee.vault.responses import describe_connection_error, parse_response
from lessee.vault.wire import InvalidResponseError

_ACTIVE = 200


class Health(ImmutableStruct, frozen=True):
    """An answer of sys/health. `error`: why there was no answer, without a host name; then nothing else is set."""

    url: str
    error: str = ""
    initialized: bool = False
    sealed: bool = True
    active: bool = False
    """Whether the node serves requests itself; a standby forwards them."""
    version: str = ""
    server_time: float | None = None
    """The server's clock, in whole seconds since 1970."""
    received_at: float = 0.0
    """The clock of this machine when the answer arrived."""
    certificate: bytes | None = None
    """The server's certificate in DER; None without TLS."""


def check_health(address: Address, timeout: float) -> tuple[Health, ...]:
    """The health of each address, concurrently, within `timeout` seconds to connect and again to read."""
    connections, urls = Connector(address), address.urls or (address.url,)
    with ThreadPoolExecutor(len(urls)) as threads:
        return tuple(threads.map(lambda url: _check(connections, url, timeout), urls))


def _check(connections: Connector, url: str, timeout: float) -> Health:
    try:
        connection = connections.open(url, timeout=timeout)
        certificate = connection.certificate()
        response, content = connection.exchange("GET", "/v1/sys/health", None, {}, timeout)
    except (OSError, InvalidResponseError) as exc:
        return Health(url, describe_connection_error(exc))
    connection.close()
    body = _decode(content)
    if "initialized" not in body:
        return Health(url, f"the server at this address is not Vault (status {response.status})")
    return Health(
        url,
        initialized=body["initialized"] is True,
        sealed=body.get("sealed") is not False,
        active=response.status == _ACTIVE,
        version=str(body.get("version") or ""),
        server_time=parse_response(response.headers, b"{}").date,
        received_at=time.time(),
        certificate=certificate,
    )


def _decode(content: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
