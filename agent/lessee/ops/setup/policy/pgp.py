"""A file with a public PGP key, as Vault takes it."""

import base64
import re

from lessee.core.errors import UsageError

_ARMOUR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\n(?:[^\n]*:[^\n]*\n)*[ \t]*\n(.*?)(?:\n=[A-Za-z0-9+/]{4}[ \t]*)?"
    r"\n-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
_PUBLIC, _SECRET = 6, 5  # Tags of packets: RFC 9580, section 5.


def public_key(content: bytes, where: str) -> str:
    """The key in Base64, without armour. `where` is the file's name. Raises UsageError."""
    todo = "write it with `gpg --export NAME > FILE`"
    packets = content
    if content.lstrip().startswith(b"-----BEGIN PGP"):
        packets = _unarmoured(content.decode("latin-1").replace("\r\n", "\n"))
    tag = _tag(packets)
    if tag == _PUBLIC:
        return base64.b64encode(packets).decode()
    if tag == _SECRET or b"PRIVATE KEY BLOCK" in content:
        raise UsageError("it holds a private key, which stays with its owner", where=where, todo=todo)
    raise UsageError("it holds no public PGP key", where=where, todo=todo)


def _unarmoured(text: str) -> bytes:
    found = _ARMOUR.search(text)
    try:
        return base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except ValueError:
        return b""


def _tag(packets: bytes) -> int | None:
    """Of the first packet: in the new format six bits, in the old one four."""
    first = packets[0] if packets else 0
    if not first & 0x80:
        return None
    return first & 0x3F if first & 0x40 else (first >> 2) & 0x0F
