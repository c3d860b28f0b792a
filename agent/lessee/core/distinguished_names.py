"""Distinguished names of LDAP, as directories compare them: RFC 4514 for the syntax, RFC 4518 for the values."""

import re
import unicodedata
from collections.abc import Sequence

Name = tuple[frozenset[tuple[str, str]], ...]
"""For each part, its attributes with their values, prepared for comparison."""

_TYPE = re.compile(r"\s*(?:oid\.)?([a-z][a-z0-9-]*|[0-9]+(?:\.[0-9]+)*)\s*=\s*", re.IGNORECASE)
# Quoted values and semicolons are of RFC 1779; OpenLDAP reads them too.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_PLAIN = re.compile(r'((?:[^"\\+,;<>\0]|\\.)*)', re.DOTALL)
_ESCAPED = re.compile(rb'\\([0-9a-fA-F]{2}|[ "#+,;<=>\\])')
_SEPARATORS = ",;"
_ALIASES = {
    "2.5.4.3": "cn",
    "2.5.4.6": "c",
    "2.5.4.7": "l",
    "2.5.4.8": "st",
    "2.5.4.9": "street",
    "2.5.4.10": "o",
    "2.5.4.11": "ou",
    "0.9.2342.19200300.100.1.1": "uid",
    "0.9.2342.19200300.100.1.25": "dc",
    "commonname": "cn",
    "countryname": "c",
    "localityname": "l",
    "stateorprovincename": "st",
    "streetaddress": "street",
    "organizationname": "o",
    "organizationalunitname": "ou",
    "userid": "uid",
    "domaincomponent": "dc",
}
"""Other names of the attribute types of RFC 4514, section 3; RFC 4519."""


def parse(text: str) -> Name:
    """The parts of a DN. Raises ValueError, also for an empty one, which names no entry."""
    parts: list[frozenset[tuple[str, str]]] = []
    attributes: set[tuple[str, str]] = set()
    at, separator = 0, _SEPARATORS
    while separator:
        key, at = _matched(_TYPE, text, at)
        value, at = _matched(_QUOTED if text.startswith('"', at) else _PLAIN, text, at)
        attributes.add((_ALIASES.get(key.lower(), key.lower()), _prepared(_unescaped(value))))
        separator, at = text[at : at + 1], at + 1
        if separator != "+":
            parts.append(frozenset(attributes))
            attributes = set()
        if separator and separator not in f"+{_SEPARATORS}":
            raise ValueError("not a DN")
    return tuple(parts)


def position(dn: object, names: Sequence[str]) -> int:
    """Which of the names is the DN's entry, whatever its spelling; -1: none of them."""
    wanted = _parsed(str(dn))
    return next((number for number, name in enumerate(names) if wanted is not None and _parsed(name) == wanted), -1)


def _parsed(text: str) -> Name | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _matched(pattern: re.Pattern[str], text: str, at: int) -> tuple[str, int]:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError("not a DN")
    return found[1], found.end()


def _unescaped(value: str) -> str:
    """Raises ValueError for an escape that RFC 4514 does not have, and where the octets are not UTF-8."""
    data = value.encode()
    if b"\\" in _ESCAPED.sub(b"", data):
        raise ValueError("not a DN")
    return _ESCAPED.sub(_octet, data).decode()


def _octet(escaped: re.Match[bytes]) -> bytes:
    found = escaped[1]
    return found if len(found) == 1 else bytes.fromhex(found.decode())


def _prepared(value: str) -> str:
    """Without differences in case, in white space and in characters that are not visible."""
    folded = unicodedata.normalize("NFKC", value.casefold()).casefold()
    return " ".join("".join(letter for letter in folded if _is_significant(letter)).split())


def _is_significant(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) not in {"Cc", "Cf"}
