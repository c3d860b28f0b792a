"""The second address of the server for development, by which containers reach it; never all addresses."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct

DOCKER = "docker"
CONTAINER_NAMES = ("host.docker.internal", "host.containers.internal")
"""The names of the host in a container: Docker's and Podman's."""
_TODO = "name one address of this machine, or `docker`"


class Listen(ImmutableStruct, frozen=True):
    """Where the server listens besides 127.0.0.1. `word` is as the user gave it, and `address` what it means now."""

    word: str = ""
    address: str = ""
    """Empty: on 127.0.0.1 alone."""

    def __str__(self) -> str:
        """As the folder remembers it."""
        return f"{self.word} {self.address}".strip()


def listen_word(text: str) -> str:
    """`docker`, an address, or nothing where the address is loopback. Raises UsageError."""
    if text == DOCKER:
        return text
    try:
        address = ip_address(text)
    except ValueError:
        raise UsageError("--listen wants an address or `docker`", where=repr(text), todo=_TODO) from None
    if address.is_loopback:
        return ""
    if why := _refusal(address):
        raise UsageError(f"--listen does not take {why}", where=text, todo=_TODO)
    return str(address)


def remembered(text: str) -> Listen:
    """What an earlier start wrote; loopback alone where it is not readable."""
    word, _, address = text.partition(" ")
    try:
        return Listen(listen_word(word), listen_word(address)) if address else Listen()
    except UsageError:
        return Listen()


def gateway_of_daemon(text: str) -> str | None:
    """The address that Docker's daemon.json gives to `host-gateway`; None where it names none."""
    try:
        found: Any = json.loads(text)
        # Docker 28 has a list of one address for each family.
        values = [found.get("host-gateway-ip"), *found.get("host-gateway-ips", ())]
    except (ValueError, AttributeError, TypeError):
        return None
    return next((value for value in values if isinstance(value, str) and value), None)


def url_of(address: str, port: int) -> str:
    """The URL of an address or a name."""
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def _refusal(address: IPv4Address | IPv6Address) -> str:
    if address.is_unspecified:
        return "all addresses"
    if address.is_multicast or address.is_reserved:
        return "an address of no machine"
    if address.is_global:
        return "a public address: the server is for development"
    if isinstance(address, IPv6Address) and address.is_link_local:
        return "a link-local address"
    return ""
