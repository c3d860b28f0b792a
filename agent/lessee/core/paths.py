"""Which path in Vault a template's word means, and which paths an environment may not name."""

from collections.abc import Mapping
from typing import Literal

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct

_ENDLESS = 2**63
_ENVIRONMENT = "{environment}"


class Ref(ImmutableStruct, frozen=True, order=True):
    """A KV secret: `path` lies under `mount`, without `data/`; `version` None is the newest."""

    mount: str
    path: str
    version: int | None = None

    def __str__(self) -> str:
        return f"{self.mount}/{self.path}" + (f"@{self.version}" if self.version else "")

    @property
    def folder(self) -> "Folder":
        """The folder in which the secret lies; "" is the mount's root."""
        head, slash, _ = self.path.rpartition("/")
        return Folder(self.mount, head + slash)


class Folder(ImmutableStruct, frozen=True, order=True):
    """A KV folder; `path` is empty or ends in a slash."""

    mount: str
    path: str

    def __str__(self) -> str:
        return f"{self.mount}/{self.path}"

    def ref(self, name: str) -> Ref:
        """The secret called `name` in this folder."""
        return Ref(self.mount, self.path + name)


Parameter = str | int | bool


class Dynamic(ImmutableStruct, frozen=True):
    """What Vault makes when it is asked: leased credentials, a certificate; or the password of a static role.

    `path` starts with its mount. `params` are sorted, and sent in the body of a POST.
    """

    path: str
    params: tuple[tuple[str, Parameter], ...] = ()
    method: Literal["GET", "POST"] = "GET"
    certificate: bool = False
    local_key: bool = False
    """The private key of a certificate is made here, and only a signing request sent."""

    @property
    def asked(self) -> str:
        """The path that the request goes to: what is signed is not issued."""
        if not self.local_key:
            return self.path
        before, _, role = self.path.rpartition("/issue/")
        return f"{before}/sign/{role}"

    def __str__(self) -> str:
        return self.path + (f" ({', '.join(f'{name}={value}' for name, value in self.params)})" if self.params else "")


Need = Ref | Folder | Dynamic
"""What a template can read."""


class Space(ImmutableStruct, frozen=True):
    """The paths that one environment's agent may name."""

    mount: str
    prefix: str = ""
    shared: tuple[str, ...] = ()
    foreign: frozenset[str] = frozenset()
    """First elements that belong to other environments."""
    environment: str | None = None
    """What `{environment}` stands for in the paths of `dynamic` and `certificate`."""

    def secret(self, literal: str, version: int | None = None) -> Ref:
        """The secret that `secret(literal)` reads. Raises DeniedError for a path outside the space."""
        if version is not None and version < 1:
            raise DeniedError(f"version={version} is no version of a secret", todo="versions start at 1")
        if version is not None and version >= _ENDLESS:
            raise DeniedError("no secret has so many versions", todo="write the number of one")
        if not literal or literal.endswith("/"):
            todo = 'write it as secret("database/postgres")'
            raise DeniedError(f"{literal!r} is no path of a secret", todo=todo)
        return Ref(self.mount, self._path(literal), version)

    def folder(self, literal: str) -> Folder:
        """The folder that `secrets(literal)` reads; "" is the whole prefix.

        Raises DeniedError for a path outside the space.
        """
        path = literal.removesuffix("/")
        return Folder(self.mount, self._path(f"{path}/") if path else self.prefix)

    def dynamic(self, literal: str, /, *, method: Parameter | None = None, **params: Parameter) -> Dynamic:
        """What `dynamic(literal, …)` asks for: with parameters by a POST, else by a GET.

        No prefix is put in front; `{environment}` is replaced. Raises DeniedError for a path outside the space, or
        what cannot be sent.
        """
        if method not in {None, "GET", "POST"}:
            todo = 'leave it out, or write method="POST" for a POST without parameters'
            raise DeniedError(f'method={method!r} is neither "GET" nor "POST"', todo=todo)
        if method == "GET" and params:
            raise DeniedError('method="GET" sends no parameters', todo="leave it out, or the parameters")
        path = self._asked(literal)
        return Dynamic(path, _sorted(params), "POST" if params or method == "POST" else "GET")

    def certificate(self, literal: str, /, *, key: Parameter = "server", **params: Parameter) -> Dynamic:
        """What `certificate(literal, …)` asks for; with key="local" the private key never leaves this machine.

        Raises DeniedError for a path outside the space, or what cannot be sent or signed.
        """
        if key not in {"server", "local"}:
            raise DeniedError(f'key={key!r} is neither "server" nor "local"', todo="say where the private key is made")
        path = self._asked(literal)
        if key == "local":
            _refuse_unsignable(path, params)
        return Dynamic(path, _sorted(params), "POST", certificate=True, local_key=key == "local")

    def _asked(self, literal: str) -> str:
        if _ENVIRONMENT in literal:
            if self.environment is None:
                todo = "write `environment: NAME` in the configuration, or set $LESSEE_ENVIRONMENT"
                raise DeniedError(f"{literal!r} holds {_ENVIRONMENT}, and there is no environment", todo=todo)
            literal = literal.replace(_ENVIRONMENT, self.environment)
        self._refuse_outside(literal)
        if literal.endswith("/") or "/" not in literal:
            todo = "write the mount and what is in it, as in database/creds/simba"
            raise DeniedError(f"{literal!r} is no path of what Vault makes", todo=todo)
        if f"{literal}/".startswith(f"{self.mount}/"):
            # Read from here, the environment's prefix would not hold.
            todo = "read it with secret(), whose path starts behind the mount"
            raise DeniedError(f"{literal!r} lies in {self.mount!r}, where the KV secrets are", todo=todo)
        return literal

    def _path(self, literal: str) -> str:
        self._refuse_outside(literal)
        if literal.startswith(self.shared):
            return literal
        if self.prefix and f"{literal}/".startswith(self.prefix):
            raise DeniedError(
                f"{literal!r} starts with the prefix {self.prefix!r}, which lessee itself puts in front",
                todo="leave it out",
            )
        return self.prefix + literal

    def _refuse_outside(self, literal: str) -> None:
        elements = literal.removesuffix("/").split("/")
        if any(element in {"", ".", ".."} for element in elements) or not literal.isprintable():
            raise DeniedError(
                f"{literal!r} is no path: an element is empty, a dot, or not printable",
                todo="write elements and single slashes, without a slash in front",
            )
        if elements[0] in self.foreign:
            raise DeniedError(
                f"{literal!r} starts with another environment's name",
                todo="an agent reads its own environment alone; leave the name out",
            )


def _sorted(params: Mapping[str, Parameter]) -> tuple[tuple[str, Parameter], ...]:
    try:
        "".join(map(str, params.values())).encode()
    except UnicodeEncodeError:
        raise DeniedError("a parameter holds half of a surrogate pair", todo="write the character itself") from None
    return tuple(sorted(params.items()))


def _refuse_unsignable(path: str, params: Mapping[str, Parameter]) -> None:
    match path.split("/"):
        case [_, *_, "issue", _]:
            pass
        case _:
            what = f'{path!r} does not end in issue and a role: key="local" does not know where a key is signed'
            raise DeniedError(what, todo='write it as in certificate("pki/issue/web", …)')
    name = params.get("common_name")
    if not isinstance(name, str) or not name:
        raise DeniedError(
            'key="local" needs a common_name for its signing request', todo='write common_name="simba.local"'
        )
