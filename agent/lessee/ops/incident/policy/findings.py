"""What was found on the server after a leak, without any value."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase

from lessee.core.immutable import ImmutableStruct
from lessee.ops.incident.policy.exposure import Exposure


class Role(ImmutableStruct, frozen=True):
    """An AppRole whose tokens get affected policies. Times are in seconds."""

    mount: str
    name: str
    policies: tuple[str, ...]
    secret_ids: tuple[str, ...]
    """The accessors of its secret_ids."""
    binds_secret_id: bool = True
    batch: bool = False
    """Its tokens are batch tokens, which have no accessor and cannot be revoked."""
    ttl: float = 0
    """The maximum TTL of its tokens; 0: the mount's default."""

    def __str__(self) -> str:
        return f"{self.mount}/{self.name}"


class Login(ImmutableStruct, frozen=True):
    """Another login that gets affected policies, such as a user of userpass or a group of identity."""

    path: str
    policies: tuple[str, ...]
    batch: bool = False
    """Its tokens are batch tokens."""


class Token(ImmutableStruct, frozen=True):
    """A token by its accessor; `policies` includes those of its identity. `created`: seconds since 1970."""

    accessor: str
    display_name: str
    policies: frozenset[str]
    path: str
    """Where it was created, such as auth/token/create; for a wrapping token the path of what it wraps."""
    created: float
    orphan: bool
    role: str = ""
    """The AppRole whose login has made it, such as approle/production-app; empty for other tokens."""

    def __str__(self) -> str:
        return f"{self.accessor} ({self.display_name})"


class Database(ImmutableStruct, frozen=True):
    """A database engine of the environment, and what it can rotate."""

    mount: str
    static_roles: tuple[str, ...]
    connections: tuple[str, ...]
    shared: Mapping[str, str] = {}
    """The connections whose user other engines use too, each with such an engine's connection."""


class Secret(ImmutableStruct, frozen=True):
    """An exposed KV secret. `created`: of its newest version, in seconds since 1970. None: not known."""

    path: str
    version: int | None = None
    created: float | None = None


class AccessKind(StrEnum):
    """How a policy grants access to the environment."""

    GRANTED = "granted"
    TEMPLATED = "templated"
    """The policy is templated, and may grant access."""
    UNREADABLE = "unreadable"
    """The policy cannot be parsed, and may grant access."""


class AffectedPolicy(ImmutableStruct, frozen=True):
    """A policy that grants access to the environment, with a path that it grants."""

    name: str
    access: AccessKind
    path: str = ""


class Findings(ImmutableStruct, frozen=True):
    """Everything that was found. `problems`: what could not be read, and so cannot be revoked."""

    exposure: Exposure
    own_token: Token
    policies: Mapping[str, str]
    """The texts of all policies of the server."""
    affected_policies: tuple[AffectedPolicy, ...]
    roles: tuple[Role, ...] = ()
    tokens: tuple[Token, ...] = ()
    logins: tuple[Login, ...] = ()
    leases: Mapping[str, int | None] = {}
    """The number of leases below each prefix; None: not known."""
    databases: tuple[Database, ...] = ()
    certificates: Mapping[str, int] = {}
    """The number of issued certificates, by PKI mount."""
    secrets: tuple[Secret, ...] = ()
    namespaces: tuple[str, ...] = ()
    batch_token_ttl: float = 0
    """The maximum TTL of batch tokens, which cannot be listed, in seconds; 0: not known."""
    problems: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    """Patterns of roles and policies whose logins and tokens are left."""

    def protects(self, names: Iterable[str]) -> bool:
        """Whether one of these names of a role or a policy is protected."""
        return any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in self.protected)

    @property
    def affected_names(self) -> frozenset[str]:
        """The names of the affected policies."""
        return frozenset(policy.name for policy in self.affected_policies)
