"""Detects secrets in a client's file, by their names and by their values.

In doubt, a value is a secret: a public value in Vault does no harm.
"""

import re
from enum import Enum

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.leaks import known_key_formats


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
        by_name = is_secret_name(name) and _can_be_secret(name, rest)
        if not (by_name or is_secret_value(rest) or (name in self.secret and rest)):
            return Verdict.PUBLIC
        return Verdict.SECRET if rest == value else Verdict.MIXED

    def check_argument(self, argument: str) -> Verdict:
        """Check `--name=value`, `NAME=value`, `Header: value`, or a value without a name."""
        named = _NAMED.match(argument)
        if named is None:
            return self.check("", argument)
        by_name = self.check(named[1], argument[named.end() :])
        return by_name if by_name is not Verdict.PUBLIC or named[1] in self.public else self.check("", argument)


REFERENCE = re.compile(r"\$\{[^{}]*\}|^\$[A-Za-z_]\w*$", re.ASCII)
"""The references that a client replaces: `${NAME}`, `${env:NAME}`, `${input:id}`."""


def is_secret_name(name: str) -> bool:
    """Whether the name is most likely a secret's: GITHUB_TOKEN, --api-key, clientSecret."""
    words = [word.upper() for word in _WORDS.findall(name)]
    if not words or words[-1] in _PUBLIC_ENDINGS or "PUBLIC" in words:
        return False
    return any(map(_SECRET_WORD.fullmatch, words)) or words[-1] == "AUTH" or words[-2:] == ["CONNECTION", "STRING"]


def is_secret_value(value: str) -> bool:
    """Whether the value is most likely a secret, whatever its name. Checks only the beginning of a long value."""
    value = value[:_MAX_CHECKED]
    return (
        any(pattern.search(value) for pattern in _SECRET_FORMATS)
        or any(is_secret_name(pair[1]) and _can_be_secret(pair[1], pair[2]) for pair in _PAIR.finditer(value))
        or any(known_key_formats(value.encode(errors="surrogatepass")))
        or (_RANDOM.fullmatch(value) is not None)
    )


def _can_be_secret(name: str, value: str) -> bool:
    """Whether the value of a secret's name can be a secret: not a switch, a path or a number."""
    value = re.sub(r"^(?:Bearer|Basic|Token)\b", "", value.strip(), flags=re.IGNORECASE).strip()
    if not value or value.lower() in _SWITCHES or _PATH.match(value):
        return False
    return not value.isdecimal() or "PASS" in name.upper() or "PWD" in name.upper()


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORD = re.compile(
    r"KEY|SECRETS|PASSPHRASE|PASS|PWD|CREDENTIALS?|PAT|AUTHORIZATION|BEARER|COOKIE|DSN"
    r"|\w*(?:APIKEY|TOKEN|SECRET|PASSWORD|PASSWD)"
)
_PUBLIC_ENDINGS = frozenset(
    "FILE PATH DIR FOLDER NAME TYPE LIMIT TTL PREFIX COUNT ENABLED METHOD MODE PROVIDER ISSUER ENDPOINT"  # noqa: SIM905
    " REGION URL URI HOST PORT ID VERSION LENGTH SIZE EXPIRY ALGORITHM FORMAT SCOPE COMMAND SOCK".split()
)
_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off", "none", "null"})
_PATH = re.compile(
    r"(?:~|\.{1,2})/|/(?:home|Users|etc|run|var|opt|mnt|tmp|root|usr|secrets?)/|/[^\n]*\.\w{1,5}$", re.ASCII
)
_NAMED = re.compile(r"-{0,2}([A-Za-z_][\w.-]*)(?:=|:\s+)", re.ASCII)
_PAIR = re.compile(
    r"(?:^|[?&#;,\s{\"'])-{0,2}([A-Za-z_][\w.-]*)[\"']?\s*(?:=|:(?!//))\s*[\"']?([^&\s;,\"'}]+)", re.ASCII
)
_SECRET_FORMATS = (
    # A password in a URL, but not a port and a path that contains an @.
    re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:]*:(?![0-9]{1,5}(?:[/?#]|$))[^\s]+@"),
    re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]{16,}@"),
    re.compile(r"\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
)
_MAX_CHECKED = 1 << 14
_RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9_-]{32,}")
