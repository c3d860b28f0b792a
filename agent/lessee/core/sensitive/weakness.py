"""Weak secrets: placeholders, common passwords, and values that are short or easy to guess."""

import re
from enum import StrEnum

from lessee.core.sensitive.common_passwords import COMMON
from lessee.core.sensitive.names import is_sensitive

SHORTEST = 12
"""Characters that a credential must have at least."""


class Weakness(StrEnum):
    """What is wrong with a value, in words that do not repeat it."""

    EMPTY = "is empty"
    PLACEHOLDER = "is a placeholder"
    COMMON = "is one of the most common passwords"
    NAME_OF_KEY = "is its key's name"
    NAME_OF_USER = "is its user's name"
    MONOTONOUS = "is one or two characters, repeated"
    SHORT = f"is shorter than {SHORTEST} characters"


def weakness(key: str, value: str, users: frozenset[str] = frozenset()) -> Weakness | None:
    """The worst weakness of a value, or None. `users`: usernames in the same secret."""
    text = value.strip()
    if not text:
        return Weakness.EMPTY
    if _PLACEHOLDER.fullmatch(text):
        return Weakness.PLACEHOLDER
    if not is_sensitive(key):
        return None
    lowered = text.lower()
    if lowered in _UNSET or _simplified(lowered) in _UNSET:
        return Weakness.PLACEHOLDER
    if lowered in COMMON or _simplified(lowered) in COMMON:
        return Weakness.COMMON
    if _simplified(lowered) == _simplified(key.rpartition(".")[2].lower()):
        return Weakness.NAME_OF_KEY
    if lowered in {user.lower() for user in users}:
        return Weakness.NAME_OF_USER
    if len(set(text)) <= _FEW:
        return Weakness.MONOTONOUS
    return Weakness.SHORT if len(text) < SHORTEST else None


def _simplified(text: str) -> str:
    return re.sub(r"[-_ .]", "", text)


_FEW = 2
_PLACEHOLDER = re.compile(
    r"""
    (?:[a-z]{2,4}[-_])?your[-_ ].* | .+[-_ ]here | change[-_ ]?(?:me|this|it)[-_ !.0-9]* |
    (?:replace|insert|enter|put)[-_ ]?(?:me|this|with)\b.* | (?:replace|insert|enter|put)[-_ ](?:your|the|a)[-_ ].* |
    <[^<>]*> | \$\{[^}]*\} | \{\{.*\}\} | x{3,} | \*{3,} | \.{3,} | to[-_ ]?do | tbd | fixme | placeholder |
    (?:my|the)[-_ ](?:password|secret|key|token|api[-_ ]?key)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_UNSET = frozenset(
    {"none", "null", "nil", "undefined", "unset", "example", "sample", "dummy", "fake", "test", "testing"}
)
