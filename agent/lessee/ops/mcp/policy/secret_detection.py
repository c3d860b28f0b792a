"""Which texts are secrets: by what they are called, and by what they look like.

It would rather take one too many: what is no secret works from Vault as well.
"""

import re
from enum import Enum

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.traces import makes


class Verdict(Enum):
    """What is to be done about a text."""

    LEAVE = "leave"
    MOVE = "move"
    MIXED = "mixed"
    """A secret in which a reference stands: the client alone knows what it comes to."""


class Judge(ImmutableStruct, frozen=True):
    """`secret` and `public` are names that the operator has decided on."""

    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()

    def of(self, name: str, value: str) -> Verdict:
        """Of a value that is called so; "" where it has no name."""
        if name in self.public or not value:
            return Verdict.LEAVE
        rest = REFERENCE.sub("", value)
        by_name = is_secret(name) and _is_worth(name, rest)
        if not (by_name or looks_secret(rest) or (name in self.secret and rest)):
            return Verdict.LEAVE
        return Verdict.MOVE if rest == value else Verdict.MIXED

    def of_argument(self, word: str) -> Verdict:
        """Of `--name=value`, `NAME=value`, `Header: value`, or a bare word."""
        named = _NAMED.match(word)
        if named is None:
            return self.of("", word)
        by_name = self.of(named[1], word[named.end() :])
        return by_name if by_name is not Verdict.LEAVE or named[1] in self.public else self.of("", word)


REFERENCE = re.compile(r"\$\{[^{}]*\}|^\$[A-Za-z_]\w*$", re.ASCII)
"""What a client puts something else for: `${NAME}`, `${env:NAME}`, `${input:id}`."""


def is_secret(name: str) -> bool:
    """Whether what is called so is most likely a secret: GITHUB_TOKEN, --api-key, clientSecret."""
    words = [word.upper() for word in _WORDS.findall(name)]
    if not words or words[-1] in _TAMING or "PUBLIC" in words:
        return False
    return any(map(_TELLING.fullmatch, words)) or words[-1] == "AUTH" or words[-2:] == ["CONNECTION", "STRING"]


def looks_secret(value: str) -> bool:
    """Whether it is most likely one, whatever it is called. Of a very long one the beginning tells."""
    value = value[:_LONGEST]
    return (
        any(pattern.search(value) for pattern in _LOOKS)
        or any(is_secret(found[1]) and _is_worth(found[1], found[2]) for found in _PAIR.finditer(value))
        or any(makes(value.encode(errors="surrogatepass")))
        or (_RANDOM.fullmatch(value) is not None)
    )


def _is_worth(name: str, value: str) -> bool:
    """Whether a value can be a secret, given its name is that of one."""
    value = re.sub(r"^(?:Bearer|Basic|Token)\b", "", value.strip(), flags=re.IGNORECASE).strip()
    if not value or value.lower() in _SWITCHES or _PATH.match(value):
        return False
    return not value.isdecimal() or "PASS" in name.upper() or "PWD" in name.upper()


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TELLING = re.compile(
    r"KEY|SECRETS|PASSPHRASE|PASS|PWD|CREDENTIALS?|PAT|AUTHORIZATION|BEARER|COOKIE|DSN"
    r"|\w*(?:APIKEY|TOKEN|SECRET|PASSWORD|PASSWD)"
)
_TAMING = frozenset(
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
_LOOKS = (
    # A password in a URL; of a port and a path with an @ behind it nobody would think so.
    re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:]*:(?![0-9]{1,5}(?:[/?#]|$))[^\s]+@"),
    re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]{16,}@"),
    re.compile(r"\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
)
_LONGEST = 1 << 14
_RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9_-]{32,}")
