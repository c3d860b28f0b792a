"""Derives the smallest Vault policy for the rotator of a configuration."""

from collections.abc import Iterable, Iterator

from lessee.config import Config
from lessee.config.grammar.rotation import (
    DatabaseRoot,
    Rotation,
    SecretIdFile,
    VaultValues,
    VerifiedTarget,
    admin_of,
    written_by,
)
from lessee.core.consumers import CONSUMER_FOLDER, JOURNAL_FOLDER
from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.access.policy.least_privilege import Rule, hcl, is_pattern

_IN_DEFAULT = "; Vault's policy `default` grants it too"
TOKEN_RULES = (
    ("auth/token/lookup-self", "read", f"to see whether the token is valid{_IN_DEFAULT}"),
    ("auth/token/renew-self", "update", f"to renew the token{_IN_DEFAULT}"),
    ("auth/token/revoke-self", "update", f"to revoke the token when it is no longer needed{_IN_DEFAULT}"),
)
"""What a service needs for its own token: path, capability and purpose."""


def of_rotator(name: str, config: Config) -> str:
    """The policy in HCL, with a heading. Raises ConfigError for paths that no rule can contain."""
    return hcl([f"{name}: rotates {', '.join(config.rotation)}"], rules(config))


def rules(config: Config) -> tuple[Rule, ...]:
    """The rules, sorted by path. Raises ConfigError for paths that no rule can contain."""
    _refuse_patterns(config)
    by_path: dict[str, tuple[set[str], dict[str, None]]] = {}
    for path, capabilities, why in _requests(config):
        known, purposes = by_path.setdefault(path, (set(), {}))
        known.update(capabilities)
        purposes[why] = None
    return tuple(
        Rule(path, tuple(sorted(known)), tuple(purposes)) for path, (known, purposes) in sorted(by_path.items())
    )


_Request = tuple[str, tuple[str, ...], str]
"""A path, its capabilities, and their purpose."""


def _requests(config: Config) -> Iterator[_Request]:
    mount, prefix = config.secrets.mount, config.secrets.prefix
    data, metadata = f"{mount}/data/{prefix}", f"{mount}/metadata/{prefix}"
    for name, target in config.rotation.items():
        if _is_of_another_environment(config, target):
            continue
        for secret in written_by(target):
            yield f"{data}{secret}", ("create", "read", "update"), f"{name}: what the apps read"
        yield f"{metadata}{target.secret}", ("read", "update"), f"{name}: records when it was rotated"
        if isinstance(target, VerifiedTarget):
            what = f"{name}: sets cas_required when it creates the secret"
            yield f"{metadata}{target.verifier_secret}", ("update",), what
        if (admin := admin_of(target)) is not None:
            yield f"{data}{admin}", ("read",), f"{name}: the admin credentials for its system"
        if isinstance(target, DatabaseRoot):
            yield from _of_database_root(name, target)
        if isinstance(target, VaultValues | SecretIdFile) and target.approle is not None:
            yield from _of_approle(name, f"auth/{target.mount}/role/{target.approle}")
    yield f"{data}{JOURNAL_FOLDER}*", ("create", "read", "update"), "the journals of rotations in progress"
    yield f"{metadata}{JOURNAL_FOLDER}*", ("create", "read", "update"), "limits journals to the newest version"
    yield (
        f"{metadata}{CONSUMER_FOLDER}*",
        ("delete", "list", "read"),
        "the agents' confirmations; removes those of agents that no longer run",
    )
    for path, capability, why in TOKEN_RULES:
        yield path, (capability,), why


def _is_of_another_environment(config: Config, target: Rotation) -> bool:
    """Whether its AppRole or connection has the name of another environment, whose own rotator changes it.

    One file serves all environments. Without this, the rotator of testing might create a secret_id of production.
    """
    others = config.foreign_environments
    if isinstance(target, VaultValues | SecretIdFile):
        return (target.approle or "").lower().startswith(tuple(f"{name}-".lower() for name in others))
    if isinstance(target, DatabaseRoot):
        return f"{target.mount}/".startswith(tuple(f"{name}/" for name in others))
    return False


def _of_approle(name: str, role: str) -> Iterator[_Request]:
    yield role, ("read",), f"{name}: reads how often a secret_id may be used"
    yield f"{role}/role-id", ("read",), f"{name}: to log in with a new secret_id"
    yield (
        f"{role}/secret-id",
        ("list", "update"),
        f"{name}: to create a secret_id, and find those of an interrupted rotation",
    )
    yield f"{role}/secret-id/lookup", ("update",), f"{name}: to identify the published one"
    for verb in ("lookup", "destroy"):
        yield f"{role}/secret-id-accessor/{verb}", ("update",), f"{name}: to destroy the old one by its accessor"


def _of_database_root(name: str, target: DatabaseRoot) -> Iterator[_Request]:
    where = f"{target.mount}/config/{target.connection}"
    yield where, ("read", "update"), f"{name}: to verify the connection, and to repair it"
    yield f"{target.mount}/config", ("list",), f"{name}: to find other connections of the same user"
    yield f"{target.mount}/config/+", ("read",), f"{name}: to find other connections of the same user"
    yield f"{target.mount}/rotate-root/{target.connection}", ("update",), f"{name}: to rotate the root credentials"


def _refuse_patterns(config: Config) -> None:
    problems = [
        LesseeError(
            f"a policy cannot contain {path!r}: `*`, `+` and braces are patterns there",
            where=f"rotation.{name}",
            todo="rename it",
        )
        for name, target in config.rotation.items()
        for path in _named(config, target)
        if is_pattern(path)
    ]
    if problems:
        raise ConfigError(problems)


def _named(config: Config, target: Rotation) -> Iterable[str]:
    places = [*written_by(target), admin_of(target)]
    roles = []
    if isinstance(target, VaultValues | SecretIdFile) and target.approle is not None:
        roles = [f"{target.mount}/{target.approle}"]
    if isinstance(target, DatabaseRoot):
        roles = [f"{target.mount}/config/{target.connection}"]
    return [*(f"{config.secrets.prefix}{place}" for place in places if place is not None), *roles]
