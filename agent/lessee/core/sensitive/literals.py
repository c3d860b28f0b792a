"""Whether a literal that someone wrote into a file is a secret, by the name of its variable or by the value itself.

In doubt it is one: a public value in Vault does no harm.
"""

import re

from lessee.core.sensitive.leaks import known_key_formats


def is_secret(name: str, value: str) -> bool:
    """Whether the literal is most likely a secret, by its name or by its value."""
    return is_secret_by_name(name, value) or has_secret_format(value)


def is_secret_by_name(name: str, value: str) -> bool:
    """Whether the name is a secret's, and the value can be one: not a switch, a path, a number, or a bare address."""
    if not is_secret_name(name):
        return False
    value = _SCHEME.sub("", value.strip()).strip()
    if not value or value.lower() in _SWITCHES or _PATH.match(value):
        return False
    if value.isdecimal():
        return "PASS" in name.upper() or "PWD" in name.upper()
    return not (_is_connection(_words(name)) and _ADDRESS.match(value)) or has_secret_format(value)


def is_secret_name(name: str) -> bool:
    """Whether the name is most likely a secret's: GITHUB_TOKEN, --api-key, clientSecret."""
    words = _words(name)
    if not words or words[-1] in _PUBLIC_ENDINGS or not _PUBLIC.isdisjoint(words):
        return False
    return any(map(_SECRET_WORD.fullmatch, words)) or words[-1] == "AUTH" or _is_connection(words)


def has_secret_format(value: str) -> bool:
    """Whether the value contains a password, or a key of a known format. Checks only the beginning of a long value."""
    value = value[:_MAX_CHECKED]
    return (
        any(pattern.search(value) for pattern in _SECRET_FORMATS)
        or any(is_secret_by_name(pair[1], pair[2]) for pair in _PAIR.finditer(value))
        or any(known_key_formats(value.encode(errors="surrogatepass")))
    )


def is_random(value: str) -> bool:
    """Whether the value consists of so many letters and digits that only a program can have chosen it."""
    return _RANDOM.fullmatch(value[:_MAX_CHECKED]) is not None


def _words(name: str) -> list[str]:
    return [word.upper() for word in _WORDS.findall(name)]


def _is_connection(words: list[str]) -> bool:
    """Whether the name is one of an address that may contain a password."""
    return "DSN" in words or words[-2:] == ["CONNECTION", "STRING"]


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORD = re.compile(
    r"KEY|SECRETS|PASSPHRASE|PASS|REQUIREPASS|PWD|[A-Z]{0,8}PW|CREDENTIALS?|PAT|AUTHORIZATION|BEARER|COOKIE"
    r"|\w*(?:APIKEY|TOKEN|SECRETE?|PASSWORD|PASSWD)"
)
_PUBLIC = frozenset({"PUBLIC", "PUBLISHABLE"})
_PUBLIC_ENDINGS = frozenset(
    "FILE PATH DIR FOLDER NAME TYPE LIMIT TTL PREFIX COUNT ENABLED METHOD MODE PROVIDER ISSUER ENDPOINT"  # noqa: SIM905
    " REGION URL URI HOST PORT ID VERSION LENGTH SIZE EXPIRY ALGORITHM FORMAT SCOPE COMMAND SOCK".split()
)
_SCHEME = re.compile(r"^(?:Bearer|Basic|Token)\b", re.IGNORECASE)
_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off", "none", "null"})
_PATH = re.compile(
    r"(?:~|\.{1,2})/|/(?:home|Users|etc|run|var|opt|mnt|tmp|root|usr|secrets?)/|/[^\n]*\.\w{1,5}$", re.ASCII
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]\w*=", re.ASCII)
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
