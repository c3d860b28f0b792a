"""The desired state of a server, in the order in which setup creates it."""

from collections.abc import Iterator, Mapping
from math import ceil

from lessee.config import App, Config
from lessee.config.grammar.rotation import written_by
from lessee.config.grammar.setup import Component, Connection, Login, Pki
from lessee.core.immutable import ImmutableStruct
from lessee.ops.access.policy.issuer_policy import issued_in, of_issuer
from lessee.ops.access.policy.least_privilege import rotated_by
from lessee.ops.access.policy.monitor_policy import of_monitor
from lessee.ops.access.policy.monitor_policy import rules as monitor_rules
from lessee.ops.access.policy.rotator_policy import of_rotator
from lessee.ops.setup.policy import component_policies
from lessee.ops.setup.policy.initial_values import Source, source_of
from lessee.ops.setup.policy.objects import Fields, Group, Kind, Object
from lessee.rendering.app_templates import CompiledApp

_ENVIRONMENT = "{environment}"
KV: Fields = {"type": "kv", "version": "2"}
_DATABASE_ADMIN = "database-admin"
_APPROLE = "auth/approle"
ROTATOR = "rotator"
"""The role of `lessee rotate`."""
MONITOR = "monitor"
"""The role of `lessee monitor`, which needs one only if its responses do."""
ISSUER = "issuer"
"""The role of `lessee issue`, whose policy another auth method of the host may have as well."""


class InitialSecret(ImmutableStruct, frozen=True):
    """A secret that must have these keys; their values may have changed since."""

    environment: str
    mount: str
    path: str
    keys: Mapping[str, Source]

    @property
    def name(self) -> str:
        """The name for people."""
        return f"{self.mount}/{self.path}"


Desired = Object | InitialSecret


def record_path(config: Config, environment: str) -> str:
    """The path of an environment's record in the KV mount; "" is the record that all of them share."""
    return f"{config.secrets.prefix if environment else ''}lessee/setup"


def desired_for_all(config: Config) -> Iterator[Desired]:
    """What all environments share: mounts, auth methods and the audit device."""
    mount, audit = config.secrets.mount, config.setup.audit
    yield Object(Kind.KV, Group.MOUNTS, "", f"sys/mounts/{mount}", KV)
    apps = config.setup.apps and any(_uses_this_server(config, app) for app in config.apps.values())
    if config.setup.components or config.rotation or config.issue or apps or monitor_rules(config):
        yield Object(Kind.AUTH, Group.MOUNTS, "", "sys/auth/approle", {"type": "approle"})
    if audit is not None:
        fields = {"type": "file", "file_path": audit.file}
        yield Object(Kind.AUDIT, Group.AUDIT, "", f"sys/audit/{audit.name}", fields)


def desired_for_environment(config: Config, compiled_apps: Mapping[str, CompiledApp]) -> Iterator[Desired]:
    """The objects and secrets of one environment. Raises TemplateError for a path that no policy can contain."""
    environment = config.environment
    assert environment is not None
    logins: dict[str, Login] = {}
    for name, spec in config.setup.components.items():
        component = _component(name, spec)
        logins[name] = component
        role = config.setup.role_name(environment, name)
        secrets = config.secrets
        text = component_policies.of_component(
            role, component.capabilities, component.prefixes, secrets.mount, secrets.prefix
        )
        yield _policy(environment, role, text)
    if config.setup.apps:
        for name, compiled_app in compiled_apps.items():
            if not _uses_this_server(config, compiled_app.app):
                continue
            logins[name] = config.setup.apps if isinstance(config.setup.apps, Login) else Login()
            role = config.setup.role_name(environment, name)
            yield _policy(environment, role, component_policies.of_app(role, compiled_app, rotated_by(config)))
    if config.rotation:
        logins[ROTATOR] = Login()
        role = config.setup.role_name(environment, ROTATOR)
        yield _policy(environment, role, of_rotator(role, config))
    monitor_policy = of_monitor(config.setup.role_name(environment, MONITOR), config)
    if monitor_policy:
        logins[MONITOR] = Login()
        yield _policy(environment, config.setup.role_name(environment, MONITOR), monitor_policy)
    issued = issued_in(environment, config.issue) if config.issue is not None else None
    if issued is not None:
        logins[ISSUER] = Login()
        role = config.setup.role_name(environment, ISSUER)
        yield _policy(environment, role, of_issuer(role, issued))
    for name, login in logins.items():
        yield _role(environment, config.setup.role_name(environment, name), login)
    yield from _database(config, environment)
    if config.setup.pki is not None:
        yield from _pki(config.setup.pki, environment)
    yield from _secrets(config, environment)


def _uses_this_server(config: Config, app: App) -> bool:
    """Whether the app's agent uses the server that is set up; setup does not touch others."""
    own, top = app.vault, config.vault
    return (own.address, own.addresses, own.namespace) == (top.address, top.addresses, top.namespace)


def _component(name: str, spec: tuple[str, ...] | Component) -> Component:
    if isinstance(spec, Component):
        return spec
    below = ("database/",) if name == _DATABASE_ADMIN else ("",)
    return Component(capabilities=spec, prefixes=below)  # type: ignore[arg-type]  # They were read as rights.


def _policy(environment: str, name: str, text: str) -> Object:
    return Object(Kind.POLICY, Group.POLICIES, environment, f"sys/policies/acl/{name}", {"policy": text})


def _role(environment: str, name: str, login: Login) -> Object:
    cidrs = sorted(login.bound_cidrs)
    fields: Fields = {
        "bind_secret_id": True,
        "secret_id_bound_cidrs": cidrs,
        "secret_id_num_uses": login.secret_id_num_uses,
        "secret_id_ttl": _whole_seconds(login.secret_id_ttl),
        "token_bound_cidrs": cidrs,
        "token_max_ttl": _whole_seconds(login.token_max_ttl),
        "token_no_default_policy": False,
        "token_policies": [name],
        "token_ttl": _whole_seconds(login.token_ttl),
    }
    return Object(Kind.ROLE, Group.ROLES, environment, f"{_APPROLE}/role/{name}", fields)


def _database(config: Config, environment: str) -> Iterator[Object]:
    spec = config.setup.database
    if spec is None:
        return
    mount = spec.mount.replace(_ENVIRONMENT, environment)
    yield Object(Kind.ENGINE, Group.DATABASE, environment, f"sys/mounts/{mount}", {"type": "database"})
    for name, connection in spec.connections.items():
        yield _connection(connection, f"{mount}/config/{name}", environment)
        for role, of in connection.roles.items():
            fields: Fields = {
                "db_name": name,
                "creation_statements": list(of.creation_statements),
                "revocation_statements": list(of.revocation_statements),
                "default_ttl": _whole_seconds(of.default_ttl),
                "max_ttl": _whole_seconds(of.max_ttl),
            }
            path = f"{mount}/roles/{role}"
            yield Object(Kind.DATABASE_ROLE, Group.DATABASE, environment, path, fields)


def _connection(spec: Connection, path: str, environment: str) -> Object:
    fields: Fields = {
        "plugin_name": spec.plugin_name,
        "connection_url": spec.connection_url.replace(_ENVIRONMENT, environment),
        "username": spec.username.replace(_ENVIRONMENT, environment),
        "allowed_roles": sorted(spec.roles),
    }
    password = source_of(spec.password, environment)
    return Object(Kind.CONNECTION, Group.DATABASE, environment, path, fields, password)


def _pki(spec: Pki, environment: str) -> Iterator[Object]:
    mount = spec.mount.replace(_ENVIRONMENT, environment)
    ttl = _whole_seconds(spec.ttl)
    engine: Fields = {"type": "pki", "max_lease_ttl": ttl}
    yield Object(Kind.ENGINE, Group.PKI, environment, f"sys/mounts/{mount}", engine)
    root: Fields = {"common_name": spec.common_name.replace(_ENVIRONMENT, environment), "ttl": f"{ttl}s"}
    yield Object(Kind.CA, Group.PKI, environment, f"{mount}/root/generate/internal", root)
    for name, role in spec.roles.items():
        fields: Fields = {
            "allowed_domains": sorted(domain.replace(_ENVIRONMENT, environment) for domain in role.allowed_domains),
            "allow_subdomains": role.allow_subdomains,
            "allow_bare_domains": role.allow_bare_domains,
            "max_ttl": _whole_seconds(role.max_ttl),
        }
        yield Object(Kind.PKI_ROLE, Group.PKI, environment, f"{mount}/roles/{name}", fields)


def _secrets(config: Config, environment: str) -> Iterator[Desired]:
    mount, prefix = config.secrets.mount, config.secrets.prefix
    for path, keys in config.setup.secrets.items():
        sources = {key: source_of(spec, environment) for key, spec in keys.items()}
        yield InitialSecret(environment, mount, f"{prefix}{path}", sources)
    rotated = {path for spec in config.rotation.values() for path in written_by(spec)}
    journals = {f"lessee/rotation/{name}" for name in config.rotation}
    for path in sorted(rotated | journals):
        # Check-and-set keeps a rotation from overwriting a version that it has not read.
        fields: Fields = {"cas_required": True}
        place = f"{mount}/metadata/{prefix}{path}"
        yield Object(Kind.SETTINGS, Group.SECRETS, environment, place, fields)


def _whole_seconds(seconds: float) -> int:
    return ceil(seconds)  # Rounded up, because a secret_id with a TTL of 0 never expires.
