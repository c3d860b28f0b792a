"""What was seen at the server: no value is in it, and nothing of it is secret."""

from collections.abc import Mapping
from enum import StrEnum

from lessee.core.immutable import Record
from lessee.ops.incident.policy.exposure import Exposure


class Role(Record, frozen=True):
    """An AppRole that gives tokens with struck policies. `name` with its mount, as in approle/web; times in seconds."""

    mount: str
    name: str
    policies: tuple[str, ...]
    secret_ids: tuple[str, ...]
    """Their accessors."""
    binds_secret_id: bool = True
    batch: bool = False
    """Its tokens have no accessor and cannot be revoked."""
    ttl: float = 0
    """Of its tokens, at most; 0: what its mount gives."""

    def __str__(self) -> str:
        return f"{self.mount}/{self.name}"


class Login(Record, frozen=True):
    """Another way in that gives struck policies, such as a user of userpass or a group of identity."""

    path: str
    policies: tuple[str, ...]
    batch: bool = False
    """As of Role."""


class Token(Record, frozen=True):
    """A token by its accessor; `policies` with those of its identity. `created`: seconds since 1970."""

    accessor: str
    display_name: str
    policies: frozenset[str]
    path: str
    """Where it was made, such as auth/token/create; of a wrapping token, what was read and is in it."""
    created: float
    orphan: bool

    def __str__(self) -> str:
        return f"{self.accessor} ({self.display_name})"


class Database(Record, frozen=True):
    """A database engine of the environment: what it can rotate by itself."""

    mount: str
    static_roles: tuple[str, ...]
    connections: tuple[str, ...]
    shared: Mapping[str, str] = {}
    """Connections that log in as somebody whom an engine of others needs too, each with that one's connection."""


class Secret(Record, frozen=True):
    """An exposed KV secret. `created` of its newest version: seconds since 1970; both None where nobody can tell."""

    path: str
    version: int | None = None
    created: float | None = None


class Way(StrEnum):
    """How a policy reaches the environment."""

    GRANTS = "grants"
    TEMPLATED = "templated"
    """It depends on who asks, and is taken to."""
    UNREADABLE = "unreadable"
    """Its text makes no sense to us, and it is taken to."""


class Struck(Record, frozen=True):
    """A policy that reaches the environment, with a path that it reaches."""

    policy: str
    way: Way
    path: str = ""


class Sight(Record, frozen=True):
    """All of it. `problems`: what could not be looked at, and so not be struck."""

    exposure: Exposure
    own: Token
    policies: Mapping[str, str]
    """The texts of all policies of the server."""
    struck: tuple[Struck, ...]
    roles: tuple[Role, ...] = ()
    tokens: tuple[Token, ...] = ()
    logins: tuple[Login, ...] = ()
    leases: Mapping[str, int | None] = {}
    """How many there are below each prefix; None: nobody may count."""
    databases: tuple[Database, ...] = ()
    certificates: Mapping[str, int] = {}
    """How many were issued, by the mount of PKI."""
    secrets: tuple[Secret, ...] = ()
    namespaces: tuple[str, ...] = ()
    batch_ttl: float = 0
    """How long a batch token that nobody can see may last, in seconds; 0: nobody knows."""
    problems: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Those of the struck policies."""
        return frozenset(one.policy for one in self.struck)
