"""When an answer without a lease and without a ttl ends: by the SSH certificate or the token that it contains."""

import base64
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from lessee.core.leases import FOREVER
from lessee.core.ttl import is_ttl

_KEY_PARTS: Mapping[bytes, int] = {
    b"ssh-rsa": 2,
    b"ssh-dss": 4,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"ssh-ed25519": 1,
    b"sk-ecdsa-sha2-nistp256": 3,
    b"sk-ssh-ed25519": 2,
}
"""How many strings the public key of each type has in a certificate."""
_SUFFIX = b"-cert-v01@openssh.com"
_ENDLESS = 2**64 - 1


def end_of(data: Mapping[str, Any]) -> float | None:
    """Seconds since 1970, or FOREVER; None if the answer says nothing."""
    with suppress(ValueError, LookupError, OverflowError, struct.error, msgspec.MsgspecError, RecursionError):
        if isinstance(key := data.get("signed_key"), str):
            return _end_of_certificate(base64.b64decode(key.split()[1], validate=True))
        if isinstance(token := data.get("token"), str):
            return _end_of_token(token)
    return None


def _end_of_certificate(blob: bytes) -> float:
    """The `valid before` of an SSH certificate.

    https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.certkeys
    """
    kind, at = _string(blob, 0)
    for _ in range(1 + _KEY_PARTS[kind.removesuffix(_SUFFIX)]):  # The nonce is before it.
        _, at = _string(blob, at)
    at += 8 + 4  # The serial number, and whether it is for users or hosts.
    for _ in ("key id", "valid principals"):
        _, at = _string(blob, at)
    _, before = struct.unpack_from(">QQ", blob, at)
    return FOREVER if before == _ENDLESS else float(before)


def _string(blob: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", blob, at)
    end = at + 4 + length
    return blob[at + 4 : end], end


def _end_of_token(token: str) -> float | None:
    """The `exp` of a JSON Web Token, RFC 7519. Its signature is for those who rely on it."""
    _, payload, _ = token.split(".")
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if is_ttl(end) else None
