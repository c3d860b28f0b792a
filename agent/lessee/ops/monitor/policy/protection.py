"""Decides whom a response may strike, by what Vault itself says about a token."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct, convert

from lessee.config import Config
from lessee.core.immutable import ImmutableStruct

ROOT = "root"
SERVICES = ("rotator", "monitor")
"""The roles of lessee's own services, which `lessee setup` creates for each environment."""
_CREATED = "auth/token/"
_APPROLE_LOGIN = "auth/approle/login"
_ROLE = re.compile(r"[A-Za-z0-9_.-]+")


class Token(ImmutableStruct, frozen=True):
    """A token as Vault describes it."""

    accessor: str
    display_name: str
    policies: frozenset[str]
    """Also those of its identity."""
    entity: str
    role: str
    path: str
    """Where it was created, such as auth/approle/login."""
    orphan: bool

    @property
    def chose_names(self) -> bool:
        """Whether a client chose its display name and metadata, as the creator of a token does."""
        return self.path.startswith(_CREATED)

    @property
    def approle(self) -> str:
        """The AppRole of auth/approle that it logged in with, or an empty text."""
        return self.role if self.path == _APPROLE_LOGIN and is_role_name(self.role) else ""

    def __str__(self) -> str:
        name = "" if self.chose_names else self.role or self.display_name
        return f"{self.accessor} ({name or self.path})"


class _Lookup(Struct):
    accessor: str
    path: str
    orphan: bool
    display_name: str | None = None
    policies: tuple[str, ...] | None = None
    identity_policies: tuple[str, ...] | None = None
    entity_id: str | None = None
    meta: dict[str, str] | None = None


class Protection(ImmutableStruct, frozen=True):
    """Who is never struck. The patterns are those of fnmatch, in lower case as Vault's policies are."""

    patterns: tuple[str, ...]
    policy_paths: tuple[str, ...]
    """A token that may write one of these policies is an administrator's."""


def parse_token(data: Any) -> Token:
    """The answer of a lookup. Raises msgspec.ValidationError."""
    found = convert(data, _Lookup, strict=True)
    meta = found.meta or {}
    return Token(
        found.accessor,
        found.display_name or "",
        frozenset((*(found.policies or ()), *(found.identity_policies or ()))),
        found.entity_id or "",
        meta.get("role_name") or meta.get("role") or meta.get("username") or "",
        found.path,
        found.orphan,
    )


def protection_of(config: Config, protected: Iterable[str]) -> Protection:
    """Lessee's own services of all environments, and those of the configuration."""
    environments = dict.fromkeys((*config.setup.environments, *filter(None, (config.environment,))))
    own = [config.setup.role_name(environment, service) for environment in environments for service in SERVICES]
    monitors = tuple(f"sys/policies/acl/{name}" for name in own if name.endswith("-monitor"))
    return Protection((*own, *(pattern.lower() for pattern in protected)), monitors)


def refusal(token: Token, own: Token, protection: Protection) -> str:
    """Why the token must not be struck, or an empty text. `own`: the monitor's."""
    if token.accessor == own.accessor:
        return "it is the monitor's own token"
    if not own.orphan:
        return "the monitor's own token has a parent, which may be this one; log in with an AppRole"
    if ROOT in token.policies:
        return "it is a root token"
    names = {*token.policies, token.entity}
    if not token.chose_names:
        names |= {token.role, token.display_name}
    for name in sorted(names):
        if name and matches(name, protection.patterns):
            return f"{name} is protected"
    return ""


def role_refusal(role: str, protection: Protection) -> str:
    """Why logins of the role must not be refused, or an empty text."""
    return f"{role} is protected" if matches(role, protection.patterns) else ""


def is_in_same_namespace(accessor: str, own: str) -> bool:
    """Whether two tokens belong to the same namespace: outside the root namespace its id follows the accessor."""
    return accessor.partition(".")[2] == own.partition(".")[2]


def is_role_name(name: str) -> bool:
    """Whether it is one element of a path, without `..` and what a URL or a policy interprets."""
    return _ROLE.fullmatch(name) is not None and name.strip(".") != ""


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
