"""Finds the secrets that are only a part of a value: in URLs, connection strings, and commands."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class SecretPart(NamedTuple):
    """The characters of a value that are a secret."""

    start: int
    end: int
    key: str = ""
    """The option or parameter that has it: `requirepass`."""
    scheme: str = ""
    """The scheme of the URL that it is a password of."""
    about: Mapping[str, tuple[int, int]] = {}
    """The places of the URL's other parts: username, host, port, database."""


def secret_parts(value: str) -> list[SecretPart]:
    """The secrets in a value, in order; none where the whole value is one, or nothing tells of one."""
    found: list[SecretPart] = []
    taken = bytearray(len(value))
    for part in _all(value):
        if not any(taken[part.start : part.end]):
            found.append(part)
            taken[part.start : part.end] = b"\1" * (part.end - part.start)
    return sorted(found)


def words_in(value: str, secrets: Iterable[str]) -> list[tuple[int, int]]:
    """The places of secrets that a text has as words of their own, also after `-p` or in a shell's default."""
    found = sorted((secret for secret in secrets if secret in value), key=len, reverse=True)
    if not found:
        return []
    text = "|".join(map(re.escape, found))
    return [one.span() for one in re.finditer(rf"(?:{_BEFORE})(?<!--)(?:{text})(?![\w.=-])", value)]


def _all(value: str) -> Iterator[SecretPart]:
    urls = [(_URL, "")]
    if "@tcp(" in value or "@unix(" in value:
        urls.append((_GO_DSN, "mysql"))
    for pattern, scheme in urls:
        for url in pattern.finditer(value):
            names = [name for name in ("username", "host", "port", "database") if url[name]]
            about = {name: url.span(name) for name in names}
            start, end = url.span("password")
            yield SecretPart(start, end, scheme=scheme or url["scheme"], about=about)
    for pattern in (_PARAMETER, _QUERY, _LINE, _OPTION, _MYSQL_OPTION, _REDIS_OPTION):
        for option in pattern.finditer(value):
            if not _REFERENCE.match(option["value"]) and (pattern is not _LINE or "\n" in value.strip()):
                yield SecretPart(*option.span("value"), key=option["key"].lstrip("-") or "password")


_BEFORE = r"(?<![\w.])(?<!\w-)|(?<=\s-p)|(?<=^-p)"
_URL = re.compile(
    r"(?P<scheme>(?:jdbc:)?[A-Za-z][A-Za-z0-9+.-]{1,30})://(?P<username>[^\s/?#@:\"'`<>$\\,]*):"
    r"(?!\$)(?P<password>[^\s/?#@\"'`<>\\]+)@(?P<host>[^\s/?#@\"'`,:;)]+)(?::(?P<port>\d+))?"
    r"(?:/(?P<database>[^\s?#\"'`,;)]+))?"
)
_GO_DSN = re.compile(
    r"(?P<username>[^\s/?#@:\"'`]{1,80}):(?P<password>[^\s@\"'`]{1,200})@(?:tcp|unix)\((?P<host>[^\s:()]+)(?::(?P<port>\d+))?\)"
    r"(?:/(?P<database>[^\s?#\"'`]+))?"
)
_WORD = r"\w*?(?:password|passwd|passphrase|pwd|sharedaccesskey|accountkey|api_?key)"
_PARAMETER = re.compile(rf"(?:^|[?&;\s\"'])(?P<key>{_WORD})\s?=\s?(?P<value>[^&;\s\"']+)", re.IGNORECASE)
"""In the query of a URL, in a connection string of libpq or ADO, and before a command."""
_QUERY = re.compile(
    r"[?&](?P<key>\w*(?:secret|token|access_?key|secret_?key|auth_?key))=(?P<value>[^&;\s\"'|]+)", re.IGNORECASE
)
_LINE = re.compile(
    r"^[ \t-]*+(?P<key>[\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|secret[_-]?key))[\"']?"
    r"[ \t]*[:=][ \t]*[\"']?(?P<value>[^\s\"'#][^\n\"']*?)[\"']?,?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""A line of a file in YAML, TOML or INI, which a value has as a whole."""
_OPTION = re.compile(
    r"(?:^|\s)(?P<key>-{0,2}(?:requirepass|masterauth|sentinel auth-pass \w+)|--?[\w.-]*(?:password|passwd|token"
    r"|secret|secret-key|api-key|root-password))(?:[=\s]+)[\"']?(?P<value>[^\s\"']+)",
    re.IGNORECASE,
)
_MYSQL_OPTION = re.compile(
    r"\b(?:mysql|mysqladmin|mariadb|mariadb-admin|mysqldump)\b[^|;&]{0,500}?\s(?P<key>-)p[\"']?(?P<value>[^\s\"']+)"
)
_REDIS_OPTION = re.compile(
    r"\b(?:redis-cli|valkey-cli)\b[^|;&]{0,500}?\s(?P<key>-)(?:a|-pass)\s[\"']?(?P<value>[^\s\"']+)"
)
_REFERENCE = re.compile(r"\$|/|-{2}|%\(|\{\{")
"""A value that the container's shell fills in, a path, or the next option."""
