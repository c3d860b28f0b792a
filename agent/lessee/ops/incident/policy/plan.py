"""What is to be done at the server after a leak, in order."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any

from lessee.config import Config
from lessee.config.grammar.rotation import Manual, Rotation, admin_of
from lessee.core.immutable import Record
from lessee.ops.access.policy.reach import Region
from lessee.ops.incident.policy.exposure import Exposure
from lessee.ops.incident.policy.findings import Database, Sight
from lessee.ops.incident.policy.targets import doomed


class Step(StrEnum):
    """In their order: logins first, so that nobody comes back; what is rotated, last, when nobody can read it."""

    LOGINS = "secret_ids"
    TOKENS = "tokens"
    LEASES = "leases"
    ROTATION = "rotation"
    TARGETS = "targets"
    """Of `rotation:` in the configuration: written by the rotator, each with the name of its target in `about`."""


class Change(Record, frozen=True):
    """One write. It can be done again: what is gone stays gone."""

    step: Step
    what: str
    path: str
    body: Mapping[str, Any]
    about: str = ""
    """Whose it is: a role, the name of a token, what leases begin with."""


def plan(sight: Sight, rotated: Iterable[Change]) -> tuple[Change, ...]:
    """All that is to be done now; `rotated` as of `rotations` and `targets`."""
    ends, _ = doomed(sight)
    return (
        *(_secret_id(role.mount, role.name, accessor) for role in sight.roles for accessor in role.secret_ids),
        *(
            Change(
                Step.TOKENS,
                f"token {token}",
                "auth/token/revoke-accessor",
                {"accessor": token.accessor},
                token.display_name,
            )
            for token in ends
        ),
        *(
            Change(
                Step.LEASES, f"leases of {prefix}", f"sys/leases/revoke-prefix/{prefix.removesuffix('/')}", {}, prefix
            )
            for prefix, count in sight.leases.items()
            if count != 0
        ),
        *rotated,
    )


def rotations(exposed: Exposure, databases: Iterable[Database]) -> tuple[Change, ...]:
    """What Vault rotates itself.

    A root credential that others log in with too is not among it, for they would be locked out.
    """
    path = exposed.path
    changes: list[Change] = []
    for database in databases:
        mount = database.mount
        changes += [
            Change(Step.ROTATION, f"static role {mount}/{name}", f"{mount}/rotate-role/{name}", {})
            for name in database.static_roles
            if path is None or f"{mount}/static-creds/{name}" in Region(path)
        ]
        changes += [
            Change(Step.ROTATION, f"root credential of {mount}/{name}", f"{mount}/rotate-root/{name}", {})
            for name in database.connections
            if path is None and name not in database.shared
        ]
    return tuple(changes)


def targets(exposed: Exposure, config: Config) -> tuple[Change, ...]:
    """The targets of `rotation:` whose secret, or whose admin, is exposed. What a person must rotate is left to him."""
    return tuple(
        Change(Step.TARGETS, f"target {name}, {place(config, said)}", place(config, said), {}, name)
        for name, said in config.rotation.items()
        if not isinstance(said, Manual) and _is_exposed(exposed, config, said)
    )


def renewed(config: Config, left: Mapping[str, Collection[str]]) -> Mapping[str, tuple[str, ...]]:
    """The whole paths of secrets of which all targets have been rotated, with the keys that stayed as they were.

    `left`: such keys, by the name of each target that has been.
    """
    of: dict[str, list[str]] = {}
    for name, said in config.rotation.items():
        of.setdefault(place(config, said), []).append(name)
    return {
        path: tuple(sorted(set.intersection(*(set(left[name]) for name in names))))
        for path, names in of.items()
        if all(name in left for name in names)
    }


def place(config: Config, said: Rotation) -> str:
    """The whole path of a target's secret."""
    return f"{config.secrets.mount}/{config.secrets.prefix}{said.secret}"


def _is_exposed(exposed: Exposure, config: Config, said: Rotation) -> bool:
    prefix = config.secrets.prefix
    paths = [f"{prefix}{path}" for path in (said.secret, admin_of(said)) if path is not None]
    mount = f"{config.secrets.mount}/"
    folders = [one.path for one in exposed.kept if one.mount.path == mount]
    return any(
        path.startswith(folder) if folder.endswith("/") or not folder else path == folder
        for path in paths
        for folder in folders
    )


def _secret_id(mount: str, role: str, accessor: str) -> Change:
    path = f"auth/{mount}/role/{role}/secret-id-accessor/destroy"
    holder = f"{mount}/{role}"
    return Change(Step.LOGINS, f"secret_id {accessor} of {holder}", path, {"secret_id_accessor": accessor}, holder)
