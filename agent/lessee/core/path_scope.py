"""The scope of an environment: which paths its templates may name, and which secret or request each one is."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.paths import DynamicSecret, Folder, Input, Method, Parameter, Ref, is_of_source
from lessee.core.variables import VariableScope

_MAX_VERSION = 2**63
_ENVIRONMENT = "{environment}"
_SYSTEM_MOUNTS = frozenset({"auth", "cubbyhole", "sys"})
"""What Vault mounts itself. It has one of each in every namespace, and they have no other name. The fourth one,
`identity`, returns no credential for Vault: `identity/oidc/token/ROLE` is made for other services."""
# Besides slashes, what a proxy or a server in front of Vault may take for one, or for the end of a path.
_SEPARATOR = re.compile(r"[/\\;?#]")


class MountScope(ImmutableStruct, frozen=True):
    """The folders of one KV mount that an agent of one environment may read."""

    prefix: str = ""
    shared: tuple[str, ...] = ()


class PathScope(ImmutableStruct, frozen=True):
    """The paths that an agent of one environment may use."""

    mount: str
    prefix: str = ""
    shared: tuple[str, ...] = ()
    foreign: frozenset[str] = frozenset()
    """First path elements that belong to other environments."""
    environment: str | None = None
    """The value of `{environment}` in the paths of `dynamic` and `certificate`."""
    variables: VariableScope = VariableScope()
    """The variables of the agent's environment that templates may read."""
    mounts: Mapping[str, MountScope] = {}
    """The other KV mounts that templates may name."""
    identities: Mapping[str, "PathScope"] = {}
    """What templates may read under another identity, by its name."""
    identity: str = ""
    """The name of the identity or source to which this scope belongs; empty for that of an app."""
    sources: Mapping[str, "PathScope"] = {}
    """What templates may read from a source, by its name."""

    def secret(
        self,
        literal: str,
        version: int | None = None,
        *,
        mount: str | None = None,
        namespace: str | None = None,
        identity: str | None = None,
        source: str | None = None,
    ) -> Ref:
        """The secret that `secret(literal)` reads. Raises DeniedError for a path outside the scope."""
        if source is not None:
            return self.of_source(source, mount, namespace, identity).secret(literal, version)
        if mount is not None or namespace is not None or identity is not None:
            return self.within(mount, namespace, identity).secret(literal, version)
        if version is not None and is_of_source(self.mount):
            raise DeniedError(f"the source {self.identity!r} has no versions", todo="omit `version=`")
        if version is not None and version < 1:
            raise DeniedError(f"version={version} is not a version number", todo="versions start at 1")
        if version is not None and version >= _MAX_VERSION:
            raise DeniedError("the version number is too large", todo="write a version that the secret has")
        if not literal or literal.endswith("/"):
            todo = 'write it as secret("database/postgres")'
            raise DeniedError(f"{literal!r} is not the path of a secret", todo=todo)
        return Ref(self.mount, self._path(literal), version, self.identity)

    def folder(
        self,
        literal: str,
        *,
        mount: str | None = None,
        namespace: str | None = None,
        identity: str | None = None,
        source: str | None = None,
    ) -> Folder:
        """The folder that `secrets(literal)` reads; "" is the whole prefix.

        Raises DeniedError for a path outside the scope.
        """
        if source is not None:
            return self.of_source(source, mount, namespace, identity).folder(literal)
        if mount is not None or namespace is not None or identity is not None:
            return self.within(mount, namespace, identity).folder(literal)
        path = literal.removesuffix("/")
        return Folder(self.mount, self._path(f"{path}/") if path else self.prefix, self.identity)

    def dynamic(
        self,
        literal: str,
        /,
        *,
        method: Parameter | None = None,
        namespace: Parameter | None = None,
        identity: Parameter | None = None,
        **params: Parameter,
    ) -> DynamicSecret:
        """What `dynamic(literal, …)` requests: with parameters by POST, without them by GET.

        The prefix is not added; `{environment}` is replaced. Raises DeniedError for a path outside the scope, or
        for parameters that cannot be sent.
        """
        if method not in {None, "GET", "POST"}:
            todo = 'omit it, or write method="POST" for a POST without parameters'
            raise DeniedError(f'method={method!r} is neither "GET" nor "POST"', todo=todo)
        if method == "GET" and params:
            raise DeniedError('method="GET" sends no parameters', todo="omit the method or the parameters")
        if identity is not None:
            scope = self.of_identity(_name("identity", identity))
            return scope.dynamic(literal, method=method, namespace=namespace, **params)
        path = self._dynamic_path(literal, namespace)
        return DynamicSecret(
            path, _sorted(params), "POST" if params or method == "POST" else "GET", identity=self.identity
        )

    def certificate(
        self,
        literal: str,
        /,
        *,
        key: Parameter = "server",
        namespace: Parameter | None = None,
        identity: Parameter | None = None,
        **params: Parameter,
    ) -> DynamicSecret:
        """What `certificate(literal, …)` requests; with key="local" the private key never leaves this machine.

        Raises DeniedError for a path outside the scope, or what cannot be sent or signed.
        """
        if key not in {"server", "local"}:
            raise DeniedError(
                f'key={key!r} is neither "server" nor "local"', todo="choose where the private key is generated"
            )
        if identity is not None:
            scope = self.of_identity(_name("identity", identity))
            return scope.certificate(literal, key=key, namespace=namespace, **params)
        path, is_local = self._dynamic_path(literal, namespace), key == "local"
        if is_local:
            _refuse_unsignable(path, params)
        return DynamicSecret(path, _sorted(params), "POST", True, is_local, self.identity)

    def any_path(
        self,
        literal: str,
        /,
        *,
        method: Method,
        params: Mapping[str, Parameter],
        body: str = "",
        inputs: tuple[Input, ...] = (),
        every: float | None = None,
        namespace: Parameter | None = None,
    ) -> DynamicSecret:
        """What `vault(literal, …)` requests. `method` LIST: the path of a folder, which may end in a slash.

        The prefix is not added; `{environment}` is replaced. Raises DeniedError for a path outside the scope, also by
        an encoding of it; or for one that needs `every`.
        """
        self._refuse_encoded(self._literal_path(literal, folder=method == "LIST"))
        path = self._dynamic_path(literal, namespace, folder=method == "LIST")
        self._refuse_encoded(path)
        if any(each.secret.identity != self.identity for each in inputs):
            todo = "read the parameter's secret under the identity of the call"
            raise DeniedError(f"a parameter of {path!r} is of another identity", todo=todo)
        sent = _sorted(params)
        need = DynamicSecret(path, sent, method, body=body, every=every, inputs=inputs, identity=self.identity)
        if every is None and not need.tells_its_end:
            what = f"{path!r} does not say when it is read again"
            todo = 'add every="5m", or every="never" for what is to remain until the call changes'
            raise DeniedError(what, todo=todo)
        return need

    def _refuse_foreign_anywhere(self, path: str) -> None:
        names = _names(path)
        if any(name.casefold() in names for name in self.foreign):
            raise DeniedError(
                f"{path!r} contains the name of another environment",
                todo="an agent reads only its own environment; omit the name",
            )

    def _refuse_encoded(self, path: str) -> None:
        """Refuse what a proxy, or a server that decodes a path again, may take for a path outside the scope."""
        names = _names(path)
        if len(names) != len(path.removesuffix("/").split("/")):
            todo = "write the path as Vault has it, without dots and encoded separators"
            raise DeniedError(f"{path!r} may be taken for another path", todo=todo)
        for mount in (self.mount, *self.mounts):
            if f"{'/'.join(names)}/".startswith(f"{mount}/".casefold()):
                raise DeniedError(f"{path!r} may be taken for a path in {mount!r}", todo="read it with secret()")

    def of_identity(self, name: str) -> "PathScope":
        """What templates may read under this identity. Raises DeniedError for an unknown one."""
        if name not in self.identities:
            known = ", ".join(sorted(self.identities)) or "none"
            todo = f"add it to `identities` in the configuration; known are {known}"
            raise DeniedError(f"no identity is named {name!r}", todo=todo)
        return self.identities[name]

    def of_source(self, name: str, mount: str | None, namespace: str | None, identity: str | None) -> "PathScope":
        """What templates may read from this source. Raises DeniedError for an unknown one, and for a place in Vault."""
        if name not in self.sources:
            known = ", ".join(sorted(self.sources)) or "none"
            raise DeniedError(
                f"no source is named {name!r}", todo=f"add it to `sources` in the configuration; known are {known}"
            )
        if (mount, namespace, identity) != (None, None, None):
            todo = "omit `mount=`, `namespace=` and `identity=`, which are of Vault"
            raise DeniedError(f"source={name!r} and a place in Vault exclude each other", todo=todo)
        return self.sources[name]

    def within(self, mount: str | None, namespace: str | None, identity: str | None) -> "PathScope":
        """The scope of another mount, namespace or identity, with the mount's own folders. Raises DeniedError."""
        if identity is not None:
            return self.of_identity(identity).within(mount, namespace, None)
        name, folders = self.mount, MountScope(self.prefix, self.shared)
        if mount is not None:
            name = self._with_environment(mount)
            self._refuse_foreign(name)
            if name != self.mount and name not in self.mounts:
                known = ", ".join(sorted({self.mount, *self.mounts}))
                where = f"identities.{self.identity}.secrets.mounts" if self.identity else "secrets.mounts"
                todo = f"add it to `{where}` in the configuration; known are {known}"
                raise DeniedError(f"no KV mount is named {name!r}", todo=todo)
            folders = self.mounts.get(name, folders)
        if namespace is not None:
            name = f"{self._namespace(namespace)}/{name}"
        return replace(self, mount=name, prefix=folders.prefix, shared=folders.shared)

    def _namespace(self, literal: str) -> str:
        """The name of a namespace, without slashes around it: one below that of the login."""
        name = self._with_environment(literal.strip("/"))
        self._refuse_foreign(name)
        if not name or is_of_agent(f"{name}/mount"):
            raise DeniedError(f"{literal!r} is not the name of a namespace", todo="write one below that of the login")
        return name

    def _refuse_foreign(self, name: str) -> None:
        self._refuse_outside(name)
        if not self.foreign.isdisjoint(name.split("/")):
            todo = "an agent reads only its own environment; omit the name"
            raise DeniedError(f"{name!r} contains the name of another environment", todo=todo)

    def _with_environment(self, literal: str) -> str:
        if _ENVIRONMENT not in literal:
            return literal
        if self.environment is None:
            todo = "write `environment: NAME` in the configuration, or set $LESSEE_ENVIRONMENT"
            raise DeniedError(f"{literal!r} contains {_ENVIRONMENT}, but no environment is set", todo=todo)
        return literal.replace(_ENVIRONMENT, self.environment)

    def _dynamic_path(self, literal: str, namespace: Parameter | None, *, folder: bool = False) -> str:
        path = self._literal_path(literal, folder=folder)
        if namespace is not None:
            path = f"{self._namespace(_name('namespace', namespace))}/{path}"
        self._refuse_foreign_anywhere(path)
        return path

    def _literal_path(self, literal: str, *, folder: bool) -> str:
        literal = self._with_environment(literal)
        self._refuse_outside(literal)
        # What is listed is a folder: its last element is no role.
        if is_of_agent(f"{literal.removesuffix('/')}/any" if folder else literal):
            todo = "read what the app needs from a secrets engine, such as database/creds/simba"
            raise DeniedError(
                f"{literal!r} names auth, sys or cubbyhole, which return credentials of the agent itself",
                todo=todo,
            )
        if not folder and (literal.endswith("/") or "/" not in literal):
            todo = "write the mount and the path in it, as in database/creds/simba"
            raise DeniedError(f"{literal!r} is not the path of a dynamic secret", todo=todo)
        for mount in (self.mount, *self.mounts):
            if f"{literal}/".startswith(f"{mount}/"):
                # The environment's prefix would not apply to a KV secret that is read this way.
                todo = "read it with secret(); its path starts after the mount"
                raise DeniedError(f"{literal!r} is in {mount!r}, the mount of the KV secrets", todo=todo)
        return literal

    def _path(self, literal: str) -> str:
        self._refuse_outside(literal)
        if literal.startswith(self.shared):
            return literal
        if self.prefix and f"{literal}/".startswith(self.prefix):
            raise DeniedError(
                f"{literal!r} starts with the prefix {self.prefix!r}, which lessee adds itself",
                todo="leave it out",
            )
        return self.prefix + literal

    def _refuse_outside(self, literal: str) -> None:
        elements = literal.removesuffix("/").split("/")
        if any(element in {"", ".", ".."} for element in elements) or not literal.isprintable():
            raise DeniedError(
                f"{literal!r} is not a path: an element is empty, a dot, or not printable",
                todo="separate elements by single slashes, without a leading slash",
            )
        if elements[0] in self.foreign:
            raise DeniedError(
                f"{literal!r} starts with the name of another environment",
                todo="an agent reads only its own environment; omit the name",
            )


def is_of_agent(path: str) -> bool:
    """Whether a request to this path may return credentials of the agent itself, such as its token.

    Vault's own mounts exist in each namespace, whose names begin the path, so an element of any depth counts, except
    for the last: `database/creds/auth` is a role. Encodings count as what they stand for.
    """
    names = _names(path)
    return not _SYSTEM_MOUNTS.isdisjoint(names[:1]) or not _SYSTEM_MOUNTS.isdisjoint(names[:-1])


def _names(path: str) -> list[str]:
    """The elements of a path as anything between here and Vault may read them; without those that are only dots."""
    decoded = path
    if "%" in path:
        while (once := unquote(decoded)) != decoded:
            decoded = once
    if not decoded.isascii():
        # Few paths need its tables. It turns forms such as full-width letters into the usual ones.
        from unicodedata import normalize  # noqa: PLC0415

        decoded = normalize("NFKC", decoded)
    return [name for element in _SEPARATOR.split(decoded) if (name := element.strip(" .").casefold())]


def _name(keyword: str, value: Parameter) -> str:
    if not isinstance(value, str):
        raise DeniedError(f"{keyword}={value!r} is not a name", todo=f'write it as {keyword}="NAME"')
    return value


def _sorted(params: Mapping[str, Parameter]) -> tuple[tuple[str, Parameter], ...]:
    try:
        "".join(map(str, params.values())).encode()
    except UnicodeEncodeError:
        raise DeniedError("a parameter contains half of a surrogate pair", todo="write the character itself") from None
    return tuple(sorted(params.items()))


def _refuse_unsignable(path: str, params: Mapping[str, Parameter]) -> None:
    match path.split("/"):
        case [_, *_, "issue", _]:
            pass
        case _:
            what = f'{path!r} does not end in issue/ROLE, so key="local" has no path to sign at'
            raise DeniedError(what, todo='write it as in certificate("pki/issue/web", …)')
    name = params.get("common_name")
    if not isinstance(name, str) or not name:
        raise DeniedError(
            'key="local" needs a common_name for its signing request', todo='write common_name="simba.local"'
        )
