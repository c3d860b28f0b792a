"""The variables of the agent's environment that templates may read: none with a credential of the agent itself."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct

_PREFIXES = ("VAULT_", "BAO_", "OPENBAO_", "LESSEE_")
_CREDENTIALS = frozenset(
    {
        # Requests a JWT with which a job of GitHub Actions logs in.
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        # systemd's folder of the service's credentials: systemd.exec(5).
        "CREDENTIALS_DIRECTORY",
        # How the agent authenticates to its collector of traces.
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    }
)
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
"""How the agent authenticates to its proxy, where the URL names a user: curl(1)."""
_SHORTEST = 8
"""Characters of a credential. A shorter value of these variables, such as a flag, occurs in others by chance."""
_HOLDING = ("_TOKEN", "_SECRET_ID", "_PASSWORD", "_HEADERS", "_KEY")


class VariableScope(ImmutableStruct, frozen=True):
    """The variables that `env()` may return, and that a child's environment may interpolate."""

    allowed: frozenset[str] | None = None
    """The only ones; None: all but those of the agent itself."""
    credentials: frozenset[str] = frozenset()
    """Further variables with which the agent logs in."""
    fallbacks: frozenset[str] = frozenset()
    """Further variables that are not for templates: the values of all apps' fallbacks."""

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
        has_login = _login_at_proxy(name, environ.get(name, ""))
        if value is not None and (has_login or any(credential in value for credential in self._held(environ))):
            what = f"templates cannot read the variable {name!r}, which contains a credential of the agent"
            raise DeniedError(what, todo="set another value for the app")
        return value

    def is_of_agent(self, name: str) -> bool:
        """Whether this variable is for the agent alone. Upper and lower case are the same."""
        upper = name.upper()
        return (
            upper.startswith(_PREFIXES) or upper in _CREDENTIALS or name in self.credentials or name in self.fallbacks
        )

    def _held(self, environ: Mapping[str, str]) -> Iterator[str]:
        for name in environ:
            upper = name.upper()
            if name in self.credentials or (upper.startswith(_PREFIXES) and upper.endswith(_HOLDING)):
                value = environ[name].strip()
                if len(value) >= _SHORTEST:
                    yield value
            user, _, password = _login_at_proxy(name, environ[name]).partition(":")
            for value in {password or user, unquote(password or user)}:
                if len(value) >= _SHORTEST:
                    yield value


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
