"""The messages between an agent and `lessee issue`: three packets on a socket of type SOCK_SEQPACKET.

The service sends a Hello first. The kernel notes in the agent's answer who sent it. Because the answer repeats the
nonce, it was sent after the service had taken hold of the process.
"""

from typing import TypeVar

import msgspec

MAX_PACKET = 4096
"""Bytes of each of them."""
PATIENCE = 10.0
"""Seconds in which the agent must answer the Hello."""
LONGEST_ISSUE = 60.0
"""Seconds that an agent waits for the reply: the service may be waiting for Vault."""


class Hello(msgspec.Struct, frozen=True):
    """From the service, as soon as it holds the process that has connected."""

    nonce: str


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """From the agent. `role`: only if several are for it."""

    nonce: str
    role: str = ""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """From the service: one of the three. `unavailable` is no decision: ask again soon."""

    wrapping_token: str = ""
    refused: str = ""
    unavailable: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        return f"Reply(refused={self.refused!r}, unavailable={self.unavailable!r})"


Message = TypeVar("Message", Hello, Request, Reply)


def encode(message: Hello | Request | Reply) -> bytes:
    """The packet of a message."""
    return msgspec.json.encode(message)


def decode(packet: bytes, kind: type[Message]) -> Message | None:
    """The message in a packet; None for anything else, as at the end of a connection."""
    try:
        return msgspec.json.decode(packet, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
