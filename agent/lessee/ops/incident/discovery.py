"""Discovers after a leak which policies have access, and the tokens, logins, leases and secrets that are affected."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from lessee.config import Config
from lessee.core.errors import DeniedError, LesseeError
from lessee.core.immutable import replace
from lessee.host.progress import SILENT, Progress
from lessee.ops.incident import engine_state, logins
from lessee.ops.incident.policy.exposure import Mount, determine_exposure, without_missing
from lessee.ops.incident.policy.findings import Database, Findings, Login, Secret, Token
from lessee.ops.incident.policy.follow_up import login_name
from lessee.ops.incident.policy.targets import affected_policies
from lessee.ops.incident.requests import request_all, unless_gone
from lessee.vault.admin import AdminClient

_ACCESSORS = "auth/token/accessors"

_Found = TypeVar("_Found")
_TokensWithProblems = tuple[tuple[Token, ...], tuple[str, ...]]
"""The tokens, and why others could not be looked up."""


def find_affected_policies(
    client: AdminClient, config: Config, environment: str, path: str | None, dynamic_paths: Iterable[str]
) -> Findings:
    """The exposure and the affected policies, without which nothing else can be decided.

    Raises DeniedError, VaultUnreachableError, ConfigError and UsageError.
    """
    exposure = determine_exposure(config, environment, path, tuple(_mounts(client)), dynamic_paths)
    if path is not None:
        missing = [location for location in exposure.locations if not engine_state.exists(client, location)]
        exposure = without_missing(exposure, missing)
    own = _token(client.read("auth/token/lookup-self") or {})
    return update_policies(client, Findings(exposure=exposure, own_token=own, policies={}, affected_policies=()))


def update_policies(client: AdminClient, findings: Findings) -> Findings:
    """The findings with the policies as they are now. Raises DeniedError and VaultUnreachableError."""
    policies = dict(_policies(client))
    return replace(
        findings, policies=policies, affected_policies=affected_policies(policies, findings.exposure.regions)
    )


def discover(client: AdminClient, findings: Findings, progress: Progress = SILENT) -> Findings:
    """Everything that is affected by these policies now. What cannot be read is listed in `problems`."""
    problems: list[str] = []

    def read(what: str, default: _Found, function: Callable[..., _Found], *arguments: Any) -> _Found:
        try:
            return function(client, *arguments)
        except LesseeError as exc:
            problems.append(f"{what}: {exc}")
            return default

    exposure, names = findings.exposure, findings.affected_names
    no_roles: logins.RolesWithProblems = (), ()
    no_tokens: _TokensWithProblems = (), ()
    no_logins: tuple[Login, ...] = ()
    no_secrets: tuple[Secret, ...] = ()
    no_count: int | None = None
    progress.phase("listing logins")
    roles, role_problems = read("AppRoles", no_roles, logins.find_roles, names)
    tokens, token_problems = read("tokens", no_tokens, list_tokens, progress)
    progress.phase("listing logins and leases")
    others = [read("other logins", no_logins, find, names) for find in logins.FIND_OTHERS]
    leases = {
        prefix: read(f"leases of {prefix}", no_count, engine_state.count_leases, prefix)
        for prefix in exposure.lease_prefixes
    }
    databases, other_databases = _databases(exposure.engines), _databases(exposure.other_engines)
    pki = [mount.path for mount in exposure.engines if mount.type == "pki"]
    return replace(
        findings,
        roles=roles,
        tokens=tokens,
        logins=tuple(login for some in others for login in some),
        leases=leases,
        databases=tuple(
            read(mount, Database(mount, (), ()), engine_state.read_database, mount, other_databases)
            for mount in databases
        ),
        certificates={mount: read(mount, 0, engine_state.count_certificates, mount) for mount in pki},
        secrets=read("secrets", no_secrets, engine_state.read_secrets, exposure.locations, progress),
        namespaces=_namespaces(client),
        batch_token_ttl=_max_token_ttl(client),
        problems=(*role_problems, *token_problems, *problems),
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
    results = request_all(lambda name: client.read(f"sys/policies/acl/{name}"), names)
    for name, data in zip(names, results, strict=True):
        if isinstance(data, LesseeError):
            raise data
        if data is not None:  # Otherwise it was deleted since it was listed.
            yield name, str(data.get("policy") or "")


def list_tokens(client: AdminClient, progress: Progress = SILENT) -> _TokensWithProblems:
    """All tokens of the server. Raises DeniedError and VaultUnreachableError."""
    accessors = client.list(_ACCESSORS)
    progress.phase("looking up tokens", len(accessors))
    tokens: list[Token] = []
    problems: list[str] = []
    for accessor, result in zip(accessors, request_all(partial(_look_up, client), accessors, progress), strict=True):
        if isinstance(result, LesseeError):
            problems.append(f"token {accessor}: {result}")
        elif result is not None:
            tokens.append(_token(result))
    return tuple(tokens), tuple(problems)


def _look_up(client: AdminClient, accessor: str) -> Mapping[str, Any] | None:
    """A token's properties; None where it does not exist, even if the server still lists its accessor.

    The server does so where a token and its parent are revoked in the same moment. It then answers 403, as for a
    missing capability; the lookup of the token's capabilities distinguishes the two.
    """
    try:
        return unless_gone(lambda: client.hvac.auth.token.lookup_accessor(accessor)["data"])
    except DeniedError as denied:
        try:
            if unless_gone(lambda: client.hvac.sys.get_capabilities([_ACCESSORS], accessor=accessor)) is None:
                return None
        except DeniedError:
            todo = f"{denied.todo}, and on sys/capabilities-accessor, which shows whether the token exists"
            raise DeniedError(denied.what, where=denied.where, todo=todo) from None
        raise


def _token(data: Any) -> Token:
    path, meta = str(data.get("path") or ""), data.get("meta") or {}
    return Token(
        accessor=str(data.get("accessor") or ""),
        display_name=str(data.get("display_name") or ""),
        policies=frozenset(data.get("policies") or ()) | frozenset(data.get("identity_policies") or ()),
        path=path,
        created=float(data.get("creation_time") or 0),
        orphan=bool(data.get("orphan")),
        role=login_name(path, meta),
    )


def _max_token_ttl(client: AdminClient) -> float:
    try:
        return float((client.read("sys/auth/token/tune") or {}).get("max_lease_ttl") or 0)
    except LesseeError:  # It is only printed.
        return 0.0


def _namespaces(client: AdminClient) -> tuple[str, ...]:
    try:
        return client.list("sys/namespaces")
    except LesseeError:  # Many servers have no namespaces.
        return ()
