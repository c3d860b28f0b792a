"""Derives the smallest Vault policy for an agent, with the purpose of each rule."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import assert_never

from lessee.config import Config, Vault
from lessee.config.grammar.rotation import written_by
from lessee.config.grammar.vault import (
    AppRole,
    Auth,
    AwsAuth,
    AzureAuth,
    CertAuth,
    CfAuth,
    GcpAuth,
    GitHubAuth,
    JwtAuth,
    KerberosAuth,
    KubernetesAuth,
    OidcAuth,
    PasswordAuth,
    TokenAuth,
)
from lessee.core import consumers
from lessee.core.errors import TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.events.vault_messages import EVENT_TYPES
from lessee.rendering.app_templates import CompiledApp


class Engine(ImmutableStruct, frozen=True):
    """The properties of a KV mount. `detailed`: it lists names together with versions (OpenBao 2.3)."""

    version: int
    detailed: bool


ASSUMED = Engine(2, detailed=False)
"""The properties assumed for a mount without asking the server."""


class Rule(ImmutableStruct, frozen=True):
    """The capabilities at a path, and comments with their purpose."""

    path: str
    capabilities: tuple[str, ...]
    comments: tuple[str, ...]
    allowed_parameters: tuple[tuple[str, str], ...] = ()
    """The only parameters that may be written, each with its only value."""
    wrapping_ttl: tuple[str, str] | None = None
    """The answer must be response-wrapped, at least and at most for these times."""


class Policy(ImmutableStruct, frozen=True):
    """The rules for one login, sorted by path."""

    vault: Vault
    compiled_apps: tuple[CompiledApp, ...]
    engines: Mapping[str, Engine]
    """Of the KV mounts from which something is read, by name."""
    rules: tuple[Rule, ...]


def identities(compiled_apps: Iterable[CompiledApp], top: Vault) -> Mapping[Vault, tuple[CompiledApp, ...]]:
    """The apps for which each way to log in reads something, by name; first those of the top-level one."""
    found: dict[Vault, list[CompiledApp]] = {}
    for compiled_app in sorted(
        compiled_apps, key=lambda compiled_app: (compiled_app.app.vault != top, compiled_app.app.name)
    ):
        app = compiled_app.app
        names = sorted({need.identity for need in compiled_app.references}) or [""]
        for vault in dict.fromkeys(map(app.login_of, names)):
            if isinstance(vault, Vault):
                found.setdefault(vault, []).append(compiled_app)
    return {vault: tuple(some) for vault, some in found.items()}


def needs_of(vault: Vault, compiled_apps: Iterable[CompiledApp]) -> frozenset[Need]:
    """What this login reads for these apps."""
    return frozenset(
        need
        for compiled_app in compiled_apps
        for need in compiled_app.references
        if compiled_app.app.login_of(need.identity) == vault
    )


def kv_mounts(vault: Vault, compiled_apps: Iterable[CompiledApp]) -> tuple[str, ...]:
    """The KV mounts from which this login reads for these apps."""
    found = needs_of(vault, compiled_apps)
    return tuple(sorted({need.mount for need in found if not isinstance(need, DynamicSecret)}))


def rotated_by(config: Config) -> frozenset[Ref] | None:
    """The secrets that this configuration rotates; None: it has no `rotation`, and another file may rotate any."""
    if not config.rotation:
        return None
    return frozenset(
        Ref(config.secrets.mount, f"{config.secrets.prefix}{path}")
        for target in config.rotation.values()
        for path in written_by(target)
    )


def policy(
    vault: Vault,
    compiled_apps: tuple[CompiledApp, ...],
    engine: Engine,
    rotated: Collection[Ref] | None = frozenset(),
    *,
    subscribes: bool = False,
    engines: Mapping[str, Engine] | None = None,
) -> Policy:
    """The policy for one login of the agent of these apps. Raises TemplateError for paths that no rule can contain.

    `engines`: the properties of single mounts; those of all others are `engine`. `rotated`: secrets whose version the
    agent confirms; None: any that may be rotated. `subscribes`: it subscribes to Vault's own event stream.
    """
    wanted: dict[Need, frozenset[_By]] = {}
    own: dict[Need, frozenset[_By]] = {}
    """What the apps themselves read: the agent confirms nothing to the rotator of another identity."""
    for compiled_app in compiled_apps:
        for compiled in compiled_app.templates:
            by = (compiled_app.app.name, compiled.name)
            for need in compiled.references:
                if compiled_app.app.login_of(need.identity) == vault:
                    plain = replace(need, identity="")
                    wanted[plain] = wanted.get(plain, frozenset()) | {by}
                    if not need.identity:
                        own[plain] = own.get(plain, frozenset()) | {by}
    _refuse_patterns(wanted)
    mounts = {mount: (engines or {}).get(mount, engine) for mount in kv_mounts(vault, compiled_apps)}
    by_path: dict[str, list[_Request]] = {}
    for request in (
        *_reading(wanted, mounts),
        *(_subscribing(wanted, mounts) if subscribes else ()),
        *_issuing(wanted),
        *_confirming(own, compiled_apps, rotated, mounts),
        *_of_the_token(vault.auth),
    ):
        by_path.setdefault(request.path, []).append(request)
    rules = tuple(_rule(path, requests) for path, requests in sorted(by_path.items()))
    return Policy(vault, compiled_apps, mounts, rules)


def text_of(policy: Policy) -> str:
    """The policy in HCL, with a heading that names its apps and login."""
    return hcl(_heading(policy), policy.rules)


def hcl(heading: Iterable[str], rules: Iterable[Rule]) -> str:
    """Rules in HCL, below a heading."""
    return "\n".join(["".join(f"# {line}\n" for line in heading), *map(_hcl, rules)])


_By = tuple[str, str]
"""An app, and one of its templates."""


class _Request(ImmutableStruct, frozen=True):
    path: str
    capability: str
    by: frozenset[_By] = frozenset()
    why: str = ""


_Wanted = Mapping[Need, frozenset[_By]]

_NAMES = "to list the names in the folder"
_CHANGES = "to detect changes with one request for the folder; without this rule, each poll reads the values"
_NAMES_AND_CHANGES = "to list the names in the folder, and to detect changes with one request"
_CHANGE = "to detect a change; without this rule, each poll reads the value"
_CONFIRMED = "to confirm which version of a rotated secret the app uses, so that the old one can be revoked"
SUBSCRIBE = "subscribe"
_EVENTS = "to get change events from Vault Enterprise; on other servers omit `list` and everything with `subscribe`"
_RENEWING = {
    "sys/leases/lookup": "to continue with leases after a restart",
    "sys/leases/renew": "to renew leases",
}
_WITHOUT_LEASE = frozenset({"code", "issue", "sign", "sign-verbatim", "static-cred", "static-creds", "token"})
"""Engines' names of the actions whose answers end without a lease, before the name of a role."""
_IN_DEFAULT = "; Vault's policy `default` grants it too"


def _reading(wanted: _Wanted, engines: Mapping[str, Engine]) -> Iterator[_Request]:
    """The requests for KV secrets, as the agent makes them: for folders, and for single secrets."""
    newest = Counter(need.folder for need in wanted if isinstance(need, Ref) and need.version is None)
    for need, by in wanted.items():
        if isinstance(need, DynamicSecret):
            continue
        folder = need if isinstance(need, Folder) else need.folder
        whole = folder in wanted
        # `+` is one path segment: all secrets of the folder, but not of its subfolders.
        mount, name = need.mount, f"{folder.path}+" if whole else need.path
        engine = engines[mount]
        if engine.version == 1:
            yield _Request(f"{mount}/{name}", "read", by)
            if isinstance(need, Folder):
                yield _Request(f"{mount}/{need.path}", "list", by, _NAMES)
            continue
        yield _Request(f"{mount}/data/{name}", "read", by)
        if isinstance(need, Ref) and need.version is not None:
            continue
        if engine.detailed and (whole or newest[folder] > 1):
            why = _NAMES_AND_CHANGES if whole else _CHANGES
            yield _Request(f"{mount}/detailed-metadata/{folder.path}", "list", by, why)
            continue
        yield _Request(f"{mount}/metadata/{name}", "read", by, _CHANGE)
        if isinstance(need, Folder):
            yield _Request(f"{mount}/metadata/{need.path}", "list", by, _NAMES)


def _subscribing(wanted: _Wanted, engines: Mapping[str, Engine]) -> Iterator[_Request]:
    """The requests for event types and secrets (https://developer.hashicorp.com/vault/docs/concepts/events)."""
    read = {request.path: request for request in _reading(wanted, engines) if request.capability == "read"}
    data = tuple(f"{mount}/{'data/' if engine.version != 1 else ''}" for mount, engine in engines.items())
    readable = [request for path, request in read.items() if path.startswith(data)]
    for request in readable:
        for capability in ("list", SUBSCRIBE):
            yield _Request(request.path, capability, request.by, _EVENTS)
    if readable:
        yield _Request(
            f"sys/events/subscribe/{EVENT_TYPES}", "read", why="to subscribe to change events of Vault Enterprise"
        )


def _issuing(wanted: _Wanted) -> Iterator[_Request]:
    leased: frozenset[_By] = frozenset()
    for need, by in wanted.items():
        if isinstance(need, DynamicSecret):
            yield _Request(need.request_path, need.capability, by)
            leased |= by if _is_leased(need) else frozenset()
    if leased:
        for path, why in _RENEWING.items():
            yield _Request(path, "update", leased, why + _IN_DEFAULT)
        yield _Request(
            "sys/leases/revoke", "update", leased, "to revoke leases that were replaced or are no longer used"
        )


def _confirming(
    wanted: _Wanted,
    compiled_apps: Iterable[CompiledApp],
    rotated: Collection[Ref] | None,
    engines: Mapping[str, Engine],
) -> Iterator[_Request]:
    """The requests that confirm versions, only for apps that read rotated secrets."""

    def confirms(need: Need) -> bool:
        return _may_be_rotated(need, engines) if rotated is None else any(_reads(need, secret) for secret in rotated)

    found = {item for need, by in wanted.items() if confirms(need) for item in by}
    why = _CONFIRMED if rotated is not None else f"{_CONFIRMED}; omit it where nothing rotates what the app reads"
    for compiled_app in compiled_apps:
        own = frozenset(item for item in found if item[0] == compiled_app.app.name)
        path = consumers.metadata_path(compiled_app.scope.mount, compiled_app.scope.prefix, compiled_app.app.name, "*")
        for capability in ("create", "update", "delete") if own else ():
            yield _Request(path, capability, own, why)


def _may_be_rotated(need: Need, engines: Mapping[str, Engine]) -> bool:
    """Whether a rotator may change what the app reads: it needs KV version 2."""
    return not isinstance(need, DynamicSecret) and engines[need.mount].version != 1


def _reads(need: Need, secret: Ref) -> bool:
    if isinstance(need, Ref):
        return (need.mount, need.path) == (secret.mount, secret.path)
    return need == secret.folder


def _is_leased(need: DynamicSecret) -> bool:
    """As far as the path tells: certificates have a lease only if their role sets generate_lease."""
    if need.certificate or not need.may_end:
        return False
    return need.path.split("/")[-2] not in _WITHOUT_LEASE


def _of_the_token(auth: Auth) -> Iterator[_Request]:
    yield _Request("auth/token/lookup-self", "read", why="to see whether the token is valid" + _IN_DEFAULT)
    yield _Request("auth/token/renew-self", "update", why="to renew the token" + _IN_DEFAULT)
    if not isinstance(auth, TokenAuth):  # The agent does not revoke a token that it did not get by a login.
        yield _Request("auth/token/revoke-self", "update", why="to revoke a token that was replaced" + _IN_DEFAULT)


def _rule(path: str, requests: list[_Request]) -> Rule:
    templates: dict[str, list[str]] = {}
    for app, template in sorted(frozenset[_By]().union(*(request.by for request in requests))):
        templates.setdefault(app, []).append(template)
    whys = dict.fromkeys(request.why for request in requests if request.why)
    return Rule(
        path,
        tuple(sorted({request.capability for request in requests})),
        (*whys, *(f"{app}: {', '.join(names)}" for app, names in templates.items())),
    )


def _refuse_patterns(wanted: _Wanted) -> None:
    problems = []
    for need, by in wanted.items():
        if isinstance(need, Ref) and need.folder in wanted:
            continue  # The rule for its folder covers it.
        path = need.path if isinstance(need, DynamicSecret) else f"{need.mount}/{need.path}"
        if is_pattern(path):
            app, template = min(by)
            what = f"a policy cannot contain {path!r}: `*`, `+` and braces are patterns there"
            problems.append(TemplateError(what, where=f"{app}: {template}", todo="rename it"))
    if problems:
        raise TemplateListError(sorted(problems, key=str))


def is_pattern(path: str) -> bool:
    """Whether Vault takes the path for a pattern; it cannot be quoted. Vault refuses `+*` anywhere.

    https://developer.hashicorp.com/vault/docs/concepts/policies
    """
    return path.endswith("*") or "+" in path.split("/") or any(sign in path for sign in ("+*", "{{", "}}"))


def _heading(policy: Policy) -> Iterator[str]:
    vault = policy.vault
    yield f"Policy for {', '.join(compiled_app.app.name for compiled_app in policy.compiled_apps)}"
    yield f"Login: {vault.address}, {_login(vault.auth)}"
    needs = needs_of(vault, policy.compiled_apps)
    if names := sorted({need.identity for need in needs if need.identity}):
        yield f"Identity: {', '.join(names)}; create the policy on its server"
    if vault.namespace is not None:
        yield f"Namespace: {vault.namespace}; create the policy there, its paths are relative to it"
    for mount, engine in policy.engines.items():
        having = "with" if engine.detailed else "without"
        assumed = " (assumed; --online reads it from Vault)" if engine is ASSUMED else ""
        yield f"KV: {mount}, version {engine.version} {having} detailed-metadata{assumed}"


def _login(auth: Auth) -> str:
    """The login as text; the repr of a role keeps it on one line."""
    match auth:
        case TokenAuth():
            return f"the token in {auth.token_file or '$VAULT_TOKEN'}"
        case AppRole():
            role_id = f"in {auth.role_id_file}" if auth.role_id is None else repr(auth.role_id)
            return f"auth/{auth.mount}, role_id {role_id}"
        case JwtAuth() | KubernetesAuth() | OidcAuth() | AzureAuth() | GcpAuth() | CfAuth():
            return f"auth/{auth.mount}, {_role(auth.role, 'default role')}"
        case CertAuth():
            return f"auth/{auth.mount}, {_role(auth.role, 'any role')}"
        case AwsAuth():
            return f"auth/{auth.mount}, {_role(auth.role, 'the role named after the IAM identity')}"
        case PasswordAuth() | KerberosAuth():
            return f"auth/{auth.mount}, user {auth.username!r}"
        case GitHubAuth():
            return f"auth/{auth.mount}, the user of the token in {auth.token_file!r}"
        case _:
            assert_never(auth)


def _role(role: str | None, default: str) -> str:
    return default if role is None else f"role {role!r}"


def _hcl(rule: Rule) -> str:
    comments = "".join(f"# {line}\n" for line in rule.comments)
    capabilities = ", ".join(f'"{capability}"' for capability in rule.capabilities)
    types = f'  subscribe_event_types = ["{EVENT_TYPES}"]\n' if SUBSCRIBE in rule.capabilities else ""
    allowed = "".join(f"    {_quoted(name)} = [{_quoted(value)}]\n" for name, value in rule.allowed_parameters)
    parameters = f"  allowed_parameters = {{\n{allowed}  }}\n" if allowed else ""
    wrapping = ""
    if rule.wrapping_ttl is not None:
        least, most = rule.wrapping_ttl
        wrapping = f'  min_wrapping_ttl = "{least}"\n  max_wrapping_ttl = "{most}"\n'
    rest = f"{types}{parameters}{wrapping}"
    return f"{comments}path {_quoted(rule.path)} {{\n  capabilities = [{capabilities}]\n{rest}}}\n"


def _quoted(path: str) -> str:
    r"""A quoted string. HCL would expand `${`; \u0024 is a `$` that does not start an expansion."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\u0024{")
    return f'"{escaped}"'
