"""Detects secrets in a client's file, by their names and by their values.

In doubt, a value is a secret: a public value in Vault does no harm.
"""

import re
from enum import Enum

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.literals import is_random, is_secret


class Verdict(Enum):
    """Whether a value is a secret."""

    PUBLIC = "public"
    SECRET = "secret"  # noqa: S105
    MIXED = "mixed"
    """A secret that contains a reference, so only the client knows its value."""


class SecretDetector(ImmutableStruct, frozen=True):
    """Detects secrets. `secret` and `public`: the names that the operator passed by option."""

    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()

    def check(self, name: str, value: str) -> Verdict:
        """Check a value. `name`: its variable or key, or empty."""
        if name in self.public or not value:
            return Verdict.PUBLIC
        rest = REFERENCE.sub("", value)
        if not (is_secret(name, rest) or is_random(rest) or (name in self.secret and rest)):
            return Verdict.PUBLIC
        return Verdict.SECRET if rest == value else Verdict.MIXED

    def check_argument(self, argument: str) -> Verdict:
        """Check `--name=value`, `NAME=value`, `Header: value`, or a value without a name."""
        named = _NAMED.match(argument)
        if named is None:
            return self.check("", argument)
        value = argument[named.end() :]
        if (by_name := self.check(named[1], value)) is not Verdict.PUBLIC:
            return by_name
        is_known = named[1] in self.public or REFERENCE.fullmatch(value) is not None
        return Verdict.PUBLIC if is_known else self.check("", argument)


REFERENCE = re.compile(
    r"\$\{[^{}]*\}"
    # Without braces only as a whole, after `NAME=`, or as a password of a URL: elsewhere a `$` may be one of the value.
    r"|^(?:(?i:Bearer|Basic|Token)\s+)?\$[A-Za-z_]\w*$"
    r"|(?<==)\$[A-Za-z_]\w*$|(?<=:)\$[A-Za-z_]\w*(?=@)",
    re.ASCII,
)
"""The references that a client replaces: `${NAME}`, `${env:NAME}`, `${input:id}`, `$NAME`."""

_NAMED = re.compile(r"-{0,2}([A-Za-z_][\w.-]*)(?:=|:\s+)", re.ASCII)
