"""The changes on the server after a leak, in their order."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any

from lessee.config import Config
from lessee.config.grammar.rotation import Manual, Rotation, admin_of, written_by
from lessee.core.immutable import ImmutableStruct
from lessee.ops.access.policy.reach import Region
from lessee.ops.incident.policy.exposure import Exposure
from lessee.ops.incident.policy.findings import Database, Findings
from lessee.ops.incident.policy.targets import tokens_to_revoke


class Step(StrEnum):
    """The steps in their order: logins end first, and rotations run last, when no revoked client can read them."""

    SECRET_IDS = "secret_ids"  # noqa: S105  # The step's name.
    TOKENS = "tokens"
    LEASES = "leases"
    VAULT_ROTATIONS = "vault_rotations"
    TARGET_ROTATIONS = "target_rotations"
    """Of the configuration's `rotation:` block; each has the name of its target in `subject`."""


class Change(ImmutableStruct, frozen=True):
    """One request that changes something. It can be repeated without harm."""

    step: Step
    name: str
    path: str
    body: Mapping[str, Any]
    subject: str = ""
    """What it belongs to: a role, a token's display name, a prefix of leases, a rotation target."""


def plan(findings: Findings, rotations: Iterable[Change]) -> tuple[Change, ...]:
    """All changes to make now; `rotations`: of `vault_rotations` and `target_rotations`."""
    tokens, _ = tokens_to_revoke(findings)
    return (
        *(
            _secret_id_change(role.mount, role.name, accessor)
            for role in findings.roles
            if not findings.protects((role.name, *role.policies))
            for accessor in role.secret_ids
        ),
        *(_token_change(token.accessor, str(token), token.display_name) for token in tokens),
        *(_lease_change(prefix) for prefix, count in findings.leases.items() if count != 0),
        *rotations,
    )


def vault_rotations(exposure: Exposure, databases: Iterable[Database]) -> tuple[Change, ...]:
    """The rotations by Vault's database engines.

    A root credential that other engines use too is not rotated, since they could no longer log in.
    """
    path = exposure.path
    changes: list[Change] = []
    for database in databases:
        mount = database.mount
        changes += [
            Change(Step.VAULT_ROTATIONS, f"static role {mount}/{name}", f"{mount}/rotate-role/{name}", {})
            for name in database.static_roles
            if path is None or f"{mount}/static-creds/{name}" in Region(path)
        ]
        changes += [
            Change(Step.VAULT_ROTATIONS, f"root credential of {mount}/{name}", f"{mount}/rotate-root/{name}", {})
            for name in database.connections
            if path is None and name not in database.shared
        ]
    return tuple(changes)


def target_rotations(exposure: Exposure, config: Config) -> tuple[Change, ...]:
    """The rotations of targets whose secret, or whose admin's secret, is exposed; manual targets are left out."""
    return tuple(
        Change(
            Step.TARGET_ROTATIONS,
            f"target {name}, {secret_path(config, target)}",
            secret_path(config, target),
            {},
            name,
        )
        for name, target in config.rotation.items()
        if not isinstance(target, Manual) and _is_exposed(exposure, config, target)
    )


def rotated_secrets(config: Config, unchanged: Mapping[str, Collection[str]]) -> Mapping[str, tuple[str, ...]]:
    """The paths of secrets all of whose targets were rotated, each with the keys that did not change.

    `unchanged`: the unchanged keys, by the name of each rotated target.
    """
    targets: dict[str, list[str]] = {}
    for name, target in config.rotation.items():
        targets.setdefault(secret_path(config, target), []).append(name)
    return {
        path: tuple(sorted(set.intersection(*(set(unchanged[name]) for name in names))))
        for path, names in targets.items()
        if all(name in unchanged for name in names)
    }


def secret_path(config: Config, target: Rotation) -> str:
    """The path of a target's secret, with the mount."""
    return f"{config.secrets.mount}/{config.secrets.prefix}{target.secret}"


def _is_exposed(exposure: Exposure, config: Config, target: Rotation) -> bool:
    prefix = config.secrets.prefix
    paths = [f"{prefix}{path}" for path in (*written_by(target), admin_of(target)) if path is not None]
    mount = f"{config.secrets.mount}/"
    folders = [location.path for location in exposure.locations if location.mount.path == mount]
    return any(
        path.startswith(folder) if folder.endswith("/") or not folder else path == folder
        for path in paths
        for folder in folders
    )


def _secret_id_change(mount: str, role: str, accessor: str) -> Change:
    path = f"auth/{mount}/role/{role}/secret-id-accessor/destroy"
    owner = f"{mount}/{role}"
    body = {"secret_id_accessor": accessor}
    return Change(Step.SECRET_IDS, f"secret_id {accessor} of {owner}", path, body, owner)


def _token_change(accessor: str, name: str, display_name: str) -> Change:
    return Change(Step.TOKENS, f"token {name}", "auth/token/revoke-accessor", {"accessor": accessor}, display_name)


def _lease_change(prefix: str) -> Change:
    path = f"sys/leases/revoke-prefix/{prefix.removesuffix('/')}"
    return Change(Step.LEASES, f"leases of {prefix}", path, {}, prefix)
