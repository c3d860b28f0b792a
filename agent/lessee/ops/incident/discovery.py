"""Looks at what a leak exposes: first whom it concerns, then all that they hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from lessee.config import Config
from lessee.core.errors import LesseeError, DeniedError
from lessee.core.immutable import replace
from lessee.ops.incident import engine_state, logins
from lessee.ops.incident.policy.exposure import Mount, exposure, without
from lessee.ops.incident.policy.findings import Database, Login, Secret, Sight, Token
from lessee.ops.incident.policy.targets import struck
from lessee.ops.incident.requests import side_by_side, unless_gone
from lessee.vault.admin import AdminClient

_ACCESSORS = "auth/token/accessors"

_Seen = TypeVar("_Seen")
_Tokens = tuple[tuple[Token, ...], tuple[str, ...]]
"""Those that are there, and why others could not be looked at."""


def look_first(client: AdminClient, config: Config, environment: str, path: str | None, named: Iterable[str]) -> Sight:
    """Who reaches the environment. Without this nothing can be judged.

    Raises DeniedError, VaultUnreachableError, ConfigError and UsageError.
    """
    exposed = exposure(config, environment, path, tuple(_mounts(client)), named)
    if path is not None:
        exposed = without(exposed, [one for one in exposed.kept if not engine_state.is_there(client, one)])
    own = _token(client.read("auth/token/lookup-self") or {})
    return judge(client, Sight(exposure=exposed, own=own, policies={}, struck=()))


def judge(client: AdminClient, sight: Sight) -> Sight:
    """By the policies as they are now. Raises DeniedError and VaultUnreachableError."""
    policies = dict(_policies(client))
    return replace(sight, policies=policies, struck=struck(policies, sight.exposure.regions))


def look(client: AdminClient, first: Sight) -> Sight:
    """All that they hold now. What cannot be looked at is told in `problems`."""
    problems: list[str] = []

    def seen(what: str, otherwise: _Seen, ask: Callable[..., _Seen], *about: Any) -> _Seen:
        try:
            return ask(client, *about)
        except LesseeError as exc:
            problems.append(f"{what}: {exc}")
            return otherwise

    exposed, names = first.exposure, first.names
    no_roles: logins.Roles = (), ()
    no_tokens: _Tokens = (), ()
    no_logins: tuple[Login, ...] = ()
    no_secrets: tuple[Secret, ...] = ()
    no_count: int | None = None
    roles, of_roles = seen("AppRoles", no_roles, logins.roles, names)
    tokens, of_tokens = seen("tokens", no_tokens, _list_tokens)
    others = [seen("other ways in", no_logins, ask, names) for ask in logins.OTHERS]
    counts = {prefix: seen(f"leases of {prefix}", no_count, engine_state.leases, prefix) for prefix in exposed.leased}
    databases, of_others = _databases(exposed.engines), _databases(exposed.others)
    pki = [mount.path for mount in exposed.engines if mount.type == "pki"]
    return replace(
        first,
        roles=roles,
        tokens=tokens,
        logins=tuple(login for some in others for login in some),
        leases=counts,
        databases=tuple(
            seen(mount, Database(mount, (), ()), engine_state.database, mount, of_others) for mount in databases
        ),
        certificates={mount: seen(mount, 0, engine_state.certificates, mount) for mount in pki},
        secrets=seen("secrets", no_secrets, engine_state.secrets, exposed.kept),
        namespaces=_namespaces(client),
        batch_ttl=_longest(client),
        problems=(*of_roles, *of_tokens, *problems),
    )


def _mounts(client: AdminClient) -> Iterator[Mount]:
    for path, mount in (client.read("sys/mounts") or {}).items():
        kind = str(mount["type"])
        version = 2 if str((mount.get("options") or {}).get("version")) == "2" else 1
        yield Mount(path, kind, version if kind in {"kv", "generic"} else 0)


def _databases(mounts: Iterable[Mount]) -> list[str]:
    return [mount.path.removesuffix("/") for mount in mounts if mount.type == "database"]


def _policies(client: AdminClient) -> Iterator[tuple[str, str]]:
    names = client.list("sys/policies/acl")
    read = side_by_side(lambda name: client.read(f"sys/policies/acl/{name}"), names)
    for name, data in zip(names, read, strict=True):
        if isinstance(data, LesseeError):
            raise data
        if data is not None:  # else it is gone since
            yield name, str(data.get("policy") or "")


def _list_tokens(client: AdminClient) -> _Tokens:
    accessors = client.list(_ACCESSORS)
    tokens: list[Token] = []
    problems: list[str] = []
    for accessor, answer in zip(accessors, side_by_side(partial(_look_up, client), accessors), strict=True):
        if isinstance(answer, LesseeError):
            problems.append(f"token {accessor}: {answer}")
        elif answer is not None:
            tokens.append(_token(answer))
    return tuple(tokens), tuple(problems)


def _look_up(client: AdminClient, accessor: str) -> Mapping[str, Any] | None:
    """None where it is gone, even if the server has kept its accessor.

    It does where a token and its parent are revoked in the same moment, and answers 403 then, as where the right is
    missing. What it says of the capabilities tells the two apart.
    """
    try:
        return unless_gone(lambda: client.hvac.auth.token.lookup_accessor(accessor)["data"])
    except DeniedError as denied:
        try:
            if unless_gone(lambda: client.hvac.sys.get_capabilities([_ACCESSORS], accessor=accessor)) is None:
                return None
        except DeniedError:
            todo = f"{denied.todo}, and sys/capabilities-accessor too, which tells whether the token is there at all"
            raise DeniedError(denied.what, where=denied.where, todo=todo) from None
        raise


def _token(data: Any) -> Token:
    return Token(
        accessor=str(data.get("accessor") or ""),
        display_name=str(data.get("display_name") or ""),
        policies=frozenset(data.get("policies") or ()) | frozenset(data.get("identity_policies") or ()),
        path=str(data.get("path") or ""),
        created=float(data.get("creation_time") or 0),
        orphan=bool(data.get("orphan")),
    )


def _longest(client: AdminClient) -> float:
    try:
        return float((client.read("sys/auth/token/tune") or {}).get("max_lease_ttl") or 0)
    except LesseeError:  # It is but told.
        return 0.0


def _namespaces(client: AdminClient) -> tuple[str, ...]:
    try:
        return client.list("sys/namespaces")
    except LesseeError:  # Many servers have none.
        return ()
