"""The variables of the agent's environment that templates and a child get: none with a credential of the agent itself.

A credential is known by the variable's name, or by its value: that of such a variable, or a password in a URL of the
configuration, of a proxy, or of the collector of traces.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, unquote_plus

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct

_PREFIXES = (
    "VAULT_",
    "BAO_",
    "OPENBAO_",
    "LESSEE_",
    # With its TOKEN and URL, a job of GitHub Actions requests the JWT with which it logs in.
    "ACTIONS_ID_TOKEN_REQUEST_",
)
_CREDENTIALS = frozenset({"CREDENTIALS_DIRECTORY"})
"""systemd's folder of the service's credentials: systemd.exec(5)."""
_COLLECTOR = "OTEL_EXPORTER_OTLP"
"""`OTEL_EXPORTER_OTLP_HEADERS`, and those of each signal: how the agent authenticates to its collector of traces."""
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
"""How the agent authenticates to its proxy, where the URL names a user: curl(1)."""
_SHORTEST = 8
"""Characters of a credential. A shorter value of these variables, such as a flag, occurs in others by chance."""
_SHORTEST_TOKEN = 16
"""Characters of a token that is the user in a URL. A shorter user is a name, which occurs in paths too."""
_HOLDING = ("_TOKEN", "_SECRET_ID", "_PASSWORD", "_HEADERS", "_KEY")
_END_OF_AUTHORITY = re.compile(r"[/?#]")


class VariableScope(ImmutableStruct, frozen=True):
    """The variables that `env()` may return, and that a child's environment may interpolate."""

    hidden = ("passwords",)

    allowed: frozenset[str] | None = None
    """The only ones; None: all but those of the agent itself."""
    credentials: frozenset[str] = frozenset()
    """Further variables with which the agent logs in."""
    fallbacks: frozenset[str] = frozenset()
    """Further variables that are not for templates: the values of all apps' fallbacks."""
    passwords: frozenset[str] = frozenset()
    """Those in the URLs of the configuration, by `passwords_in`."""

    def check(self, name: str) -> None:
        """Raises DeniedError for a variable that templates may not read."""
        what = f"templates cannot read the variable {name!r}"
        if self.is_of_agent(name):
            todo = "write the value out, or set a variable of another name for the app"
            raise DeniedError(f"{what}, which is one of the agent's own", todo=todo)
        if self.allowed is not None and name not in self.allowed:
            raise DeniedError(f"{what}, which template_env does not list", todo="add it to template_env")

    def read(self, name: str, environ: Mapping[str, str], default: str | None = None) -> str | None:
        """The value of a variable, or the default. Raises DeniedError, also for a value with a credential."""
        self.check(name)
        value = environ.get(name, default)
        known = environ.get(name, "")
        has_login = _login(name, known) or _login_at_proxy(name, known)
        if value is not None and (has_login or any(held in value for held in self._held(environ, users=True))):
            what = f"templates cannot read the variable {name!r}, which contains a credential of the agent"
            raise DeniedError(what, todo="set another value for the app")
        return value

    def is_of_agent(self, name: str) -> bool:
        """Whether this variable is for the agent alone. Upper and lower case are the same."""
        return self._is_credential(name) or name in self.fallbacks

    def for_child(
        self, environ: Mapping[str, str], *, keeps_proxies: bool, before: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """What a child inherits of the environment: no credential of the agent.

        `keeps_proxies`: also a proxy whose URL names a user. `before`: the environment with credentials that have
        been removed from it since.
        """
        held = {*self._held(environ, proxies=not keeps_proxies)}
        if before is not None:
            held.update(self._held(before, proxies=not keeps_proxies))

        def is_inherited(name: str, value: str) -> bool:
            if self._is_credential(name) or _login(name, value):
                return False
            if name.upper() in _PROXIES:
                return keeps_proxies or not (_login_at_proxy(name, value) or any(one in value for one in held))
            return not any(one in value for one in held)

        return {name: value for name, value in environ.items() if is_inherited(name, value)}

    def _is_credential(self, name: str) -> bool:
        upper = name.upper()
        return (
            upper.startswith(_PREFIXES)
            or upper in _CREDENTIALS
            or (upper.startswith(_COLLECTOR) and upper.endswith("_HEADERS"))
            or name in self.credentials
        )

    def _held(self, environ: Mapping[str, str], *, proxies: bool = True, users: bool = False) -> Iterator[str]:
        """The credentials that a value must not contain: the passwords of `proxies` too, and users without any."""
        found = set(self.passwords)
        for name, value in environ.items():
            if name in self.credentials or (self._is_credential(name) and name.upper().endswith(_HOLDING)):
                found.add(value.strip())
            found.update(_spellings(_login(name, value)))
            if proxies:
                found.update(_spellings(_login_at_proxy(name, value), users=users))
        return (value for value in found if len(value) >= _SHORTEST)


def passwords_in(urls: Iterable[str]) -> frozenset[str]:
    """The passwords in these URLs, as written and decoded: of the user, or in the query under a name like `token`."""
    found: set[str] = set()
    for url in urls:
        found.update(_spellings(_user_info(url)))
        query = url.partition("#")[0].partition("?")[2]
        if query:
            from lessee.core.sensitive.names import is_sensitive  # noqa: PLC0415  # Few URLs have one.

            for pair in query.split("&"):
                key, _, value = pair.partition("=")
                if is_sensitive(unquote_plus(key)):
                    found.update({value, unquote_plus(value)})
    return frozenset(value for value in found if len(value) >= _SHORTEST)


def _login(name: str, value: str) -> str:
    """The user and password in a variable that names the collector of traces. Else empty."""
    upper = name.upper()
    return _user_info(value) if upper.startswith(_COLLECTOR) and upper.endswith("_ENDPOINT") else ""


def _user_info(url: str) -> str:
    """What is before the host of a URL: RFC 3986, section 3.2.1."""
    return _END_OF_AUTHORITY.split(url.split("://", 1)[-1], maxsplit=1)[0].rpartition("@")[0]


def _spellings(login: str, *, users: bool = False) -> Iterator[str]:
    """The password of a login; where it has none the user, if that is a token, or in any case."""
    user, _, password = login.partition(":")
    secret = password or (user if users or len(user) >= _SHORTEST_TOKEN else "")
    yield secret
    yield unquote(secret)


def _login_at_proxy(name: str, value: str) -> str:
    """The user and password in a variable that names a proxy; some proxies take a token as the user. Else empty."""
    return value.rpartition("@")[0].split("://", 1)[-1] if name.upper() in _PROXIES else ""


class Readable(Mapping[str, str]):
    """The environment as a template may read it: a variable that it may not read raises DeniedError."""

    def __init__(self, environ: Mapping[str, str], scope: VariableScope) -> None:
        self._environ = environ
        self._scope = scope

    def __getitem__(self, name: str) -> str:
        value = self._scope.read(name, self._environ)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)
