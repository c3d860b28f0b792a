"""The fields of a secret, and whether the name of a key means that its value is sensitive."""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping

from lessee.core.immutable import ImmutableStruct


class SecretField(ImmutableStruct, frozen=True, order=True):
    """A field of a secret: the secret's path with its mount, and the key in it; `a.b` is the key `b` in `a`."""

    path: str
    key: str

    def __str__(self) -> str:
        return f"{self.path}: {self.key}"


def fields(data: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Every string and number with its key, also if it is empty; not null, true or false."""
    for key, value in data.items():
        yield from _fields(str(key), value)


def is_not_secret(key: str, value: str) -> bool:
    """Whether the value is not secret: by its key it is an address, a name or a time, and it contains no password."""
    words = _words(key)
    named = words[-1] in _PLAIN or words[0] in _OPEN
    return named and not is_sensitive(key) and not has_password(value)


def is_sensitive(key: str) -> bool:
    """Whether the key is named like a credential."""
    words = _words(key)
    if not _SECRETIVE.intersection(words) or words[0] in _OPEN:
        return False
    return words[-1] not in _ABOUT or words[-2:] == ["secret", "id"]


def is_username(key: str) -> bool:
    """Whether the key is named like a username."""
    return bool(_USER.intersection(_words(key)))


def has_password(value: str) -> bool:
    """Whether the value is a URL with a password."""
    return _USERINFO.match(value) is not None


def fingerprint(value: str, salt: bytes) -> bytes:
    """A hash that is equal for equal values and salts; without the salt, values cannot be guessed from it."""
    return hmac.digest(salt, value.encode(errors="surrogatepass"), hashlib.sha256)


def _fields(key: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield key, value
        case bool() | None:
            pass
        case int() | float():
            yield key, str(value)
        case Mapping():
            for name, inner in value.items():
                yield from _fields(f"{key}.{name}", inner)
        case list():
            for index, inner in enumerate(value):
                yield from _fields(f"{key}.{index}", inner)
        case _:
            pass


def _words(key: str) -> list[str]:
    """`previousApiKey`, `previous_api_key` and `PREVIOUS-API-KEY` are three words; a list item has its list's name."""
    name = next((part for part in reversed(key.split(".")) if not part.isdecimal()), key)
    return _WORD.findall(_HUMP.sub(r"\1_\2", name).lower()) or [name]


_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_WORD = re.compile(r"[a-z0-9]+")
_SECRETIVE = frozenset(
    {"password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "key", "apikey", "credential", "credentials"}
)
_OPEN = frozenset({"public", "publishable"})
_USER = frozenset({"user", "username", "login", "email", "role"})
_ABOUT = frozenset(
    {"id", "url", "uri", "name", "type", "path", "file", "at", "ttl", "count", "timestamp", "version", "length", "host"}
)
_PLAIN = _USER | frozenset(
    {"host", "hostname", "port", "endpoint", "address", "addr", "url", "uri", "database", "dbname", "db", "bucket",
     "region", "sslmode", "mode", "scheme", "environment", "timestamp", "count", "at", "id", "name", "type", "version",
     "ttl", "certificate", "cert", "crt", "ca", "chain", "issuer"}
)  # fmt: skip
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@:\s]*:[^/?#@\s]+@")
