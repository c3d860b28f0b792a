"""Values of userPassword: creates one from a password, and finds those of a password. RFC 2307, 5.3.

The scheme {SSHA} is the one that each slapd has without a module; https://www.openldap.org/doc/admin26/security.html.
"""

import base64
import hashlib
import re
from binascii import Error

_SCHEME = re.compile(rb"\{([A-Za-z0-9-]+)\}(.*)", re.DOTALL)
_HASHES = {
    b"SHA": "sha1",
    b"SSHA": "sha1",
    b"MD5": "md5",
    b"SMD5": "md5",
    b"SHA256": "sha256",
    b"SSHA256": "sha256",
    b"SHA384": "sha384",
    b"SSHA384": "sha384",
    b"SHA512": "sha512",
    b"SSHA512": "sha512",
}
_SALT = 16
"""Bytes of the salt."""


def hashed(password: str, rotation: str) -> bytes:
    """The value for a password. A rotation's id is its salt, so that a retry adds no second value."""
    salt = hashlib.sha256(rotation.encode()).digest()[:_SALT]
    digest = hashlib.new("sha1", password.encode() + salt, usedforsecurity=False).digest()
    return b"{SSHA}" + base64.b64encode(digest + salt)


def matches(value: bytes, password: str) -> bool | None:
    """Whether a value is of this password. None: its scheme is not known here, such as {CRYPT} and {ARGON2}."""
    scheme = _SCHEME.fullmatch(value)
    if scheme is None:
        return value == password.encode()
    name, stored = scheme[1].upper(), scheme[2]
    if name == b"CLEARTEXT":
        return stored == password.encode()
    if name not in _HASHES:
        return None
    try:
        decoded = base64.b64decode(stored, validate=True)
    except Error:
        return False
    hash_ = hashlib.new(_HASHES[name], usedforsecurity=False)
    digest, salt = decoded[: hash_.digest_size], decoded[hash_.digest_size :]
    hash_.update(password.encode() + salt)
    return hash_.digest() == digest
