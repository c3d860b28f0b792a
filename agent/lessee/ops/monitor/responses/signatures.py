"""SSH signatures of approvers, as `ssh-keygen -Y sign -n lessee-response` makes them.

The format is in OpenSSH's PROTOCOL.sshsig.
"""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMESPACE = "lessee-response"
MAX_BYTES = 4096
_MAGIC = b"SSHSIG"
_ARMOR = re.compile(rb"\s*-----BEGIN SSH SIGNATURE-----\s(.*)-----END SSH SIGNATURE-----\s*", re.DOTALL)
_HASHES = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_TYPE = b"ssh-ed25519"
_LINE = 70


class InvalidSignatureError(ValueError):
    """The signature is not one of an approver. The text gives the reason."""


def signer(content: bytes, signature: bytes, approvers: Mapping[str, str]) -> str:
    """The approver who signed the content, by name. `approvers`: their public keys. Raises InvalidSignatureError."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # Few configurations have approvers.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    key, hash_name, value = _parse(signature)
    name = next((name for name, text in approvers.items() if base64.b64decode(text.split()[1]) == key), None)
    if name is None:
        raise InvalidSignatureError("its key is not one of `approvers`")
    _, public = _strings(key, 2)
    kind, raw = _strings(value, 2)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(raw if kind == _TYPE else b"", _signed(content, hash_name))
    except (InvalidSignature, ValueError):
        raise InvalidSignatureError(f"it is not {name}'s signature of this response") from None
    return name


def sign(content: bytes, key: "Ed25519PrivateKey") -> bytes:
    """The armored signature of the content."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    public = _packed(_TYPE, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    value = _packed(_TYPE, key.sign(_signed(content, b"sha512")))
    blob = _MAGIC + struct.pack(">I", 1) + _packed(public, NAMESPACE.encode(), b"", b"sha512", value)
    text = base64.b64encode(blob)
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return b"\n".join([b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""])


def _parse(signature: bytes) -> tuple[bytes, bytes, bytes]:
    """The public key, the name of the hash, and the signature proper."""
    found = _ARMOR.fullmatch(signature[:MAX_BYTES])
    try:
        blob = base64.b64decode(b"".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        blob = b""
    head = _MAGIC + struct.pack(">I", 1)
    if not blob.startswith(head):
        raise InvalidSignatureError("it is no SSH signature")
    key, namespace, _, hash_name, value = _strings(blob[len(head) :], 5)
    if namespace != NAMESPACE.encode():
        raise InvalidSignatureError(f"its namespace is not {NAMESPACE}")
    if hash_name not in _HASHES:
        raise InvalidSignatureError("its hash is neither sha512 nor sha256")
    return key, hash_name, value


def _strings(blob: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        size = int.from_bytes(blob[:4])
        if len(blob) < 4 + size:
            raise InvalidSignatureError("it is no SSH signature")
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if blob:
        raise InvalidSignatureError("more follows the SSH signature")
    return found


def _packed(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _signed(content: bytes, hash_name: bytes) -> bytes:
    return _MAGIC + _packed(NAMESPACE.encode(), b"", hash_name, _HASHES[hash_name](content).digest())
