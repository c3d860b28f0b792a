"""How a server says it is, to whoever asks: no token is needed."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import msgspec

from lessee.core.immutable import ImmutableStruct
from lessee.vault.connections import Address, Connections
from lessee.vault.responses import answer, describe_connection_error

_ACTIVE = 200


class Health(ImmutableStruct, frozen=True):
    """An answer of sys/health. `error`: why none came, in words that name no host; then nothing else is known."""

    url: str
    error: str = ""
    initialised: bool = False
    sealed: bool = True
    active: bool = False
    """Whether it serves itself; a standby passes on."""
    version: str = ""
    date: float | None = None
    """By the server's clock, in whole seconds since 1970."""
    here: float = 0.0
    """When that came, by the clock of this machine."""
    certificate: bytes | None = None
    """What it showed, in DER; None without TLS."""


def look(address: Address, timeout: float) -> tuple[Health, ...]:
    """The health of each of the addresses, side by side, within `timeout` seconds to connect and as many to read."""
    connections, urls = Connections(address), address.urls or (address.url,)
    with ThreadPoolExecutor(len(urls)) as threads:
        return tuple(threads.map(lambda url: _look(connections, url, timeout), urls))


def _look(connections: Connections, url: str, timeout: float) -> Health:
    try:
        connection = connections.open(url, timeout=timeout)
        certificate = connection.certificate()
        response, content = connection.exchange("GET", "/v1/sys/health", None, {}, timeout)
    except (OSError, HTTPException) as exc:
        return Health(url, describe_connection_error(exc))
    connection.close()
    said = _said(content)
    if "initialized" not in said:
        return Health(url, f"what answers is not Vault (status {response.status})")
    return Health(
        url,
        initialised=said["initialized"] is True,
        sealed=said.get("sealed") is not False,
        active=response.status == _ACTIVE,
        version=str(said.get("version") or ""),
        date=answer(response.headers, b"{}").date,
        here=time.time(),
        certificate=certificate,
    )


def _said(content: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
