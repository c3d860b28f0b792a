"""What nobody but people can do after a leak, the most important first."""

from collections.abc import Collection, Iterator, Mapping

from lessee.config.grammar.rotation import Postgres, Redis, Rotation, admin_of
from lessee.core.immutable import Record
from lessee.core.sensitive.names import fields, is_plain
from lessee.ops.incident.policy.findings import Role, Secret, Sight, Way
from lessee.ops.incident.policy.targets import MAKING, doomed, grants

DAY = 86400.0
HOUR = 3600.0
_NO_SECRETS = ("/lessee/setup", "/lessee/rotation/", "/lessee/consumers/")
"""What setup knows again its own objects by, which are fingerprints; how far rotations have come, and for whom."""
_FIRST = ("database", "api-keys", "storage")
"""Folders whose secrets open other systems."""
_ADMIN = ", its admin"
_NOTHING: Mapping[str, Collection[str]] = {}


class Task(Record, frozen=True):
    """A heading, and what it is about, one a line."""

    title: str
    lines: tuple[str, ...]


def by_hand(
    sight: Sight, rotation: Mapping[str, Rotation], now: float, rotated: Mapping[str, Collection[str]] = _NOTHING
) -> tuple[Task, ...]:
    """`now`: seconds since 1970. `rotated`: whole paths of secrets that have been, with the keys that stayed.

    Headings without anything to do are left out.
    """
    tasks = (
        Task("change at the system that owns it, then write to Vault", tuple(_secrets(sight, rotation, now, rotated))),
        Task("end sessions that were opened with the old credentials, and go on", tuple(_sessions(rotation, rotated))),
        Task("look at, then revoke with `bao token revoke -accessor ACCESSOR`", tuple(_spared(sight))),
        Task("close ways in that are left open", tuple(_ways_in(sight))),
        Task("wait for what cannot be revoked", tuple(_unrevocable(sight))),
        Task("revoke certificates, which stay valid until they expire", tuple(_certificates(sight))),
        Task("look at policies that are taken to reach the environment", tuple(_suspected(sight))),
        Task("look elsewhere too", tuple(_elsewhere(sight))),
    )
    return tuple(task for task in tasks if task.lines)


def unchanged(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """The keys whose values are the same, but for those that are no secrets by their names."""
    new = dict(fields(after))
    return tuple(key for key, value in fields(before) if value and new.get(key) == value and not is_plain(key, value))


def shown(text: str) -> str:
    """A name that others chose, so that it cannot write over a terminal."""
    return text if text.isprintable() else repr(text)


def _secrets(
    sight: Sight, rotation: Mapping[str, Rotation], now: float, rotated: Mapping[str, Collection[str]]
) -> Iterator[str]:
    for database in sight.databases:
        for name, other in database.shared.items():
            what = f"root credential of {database.mount}/{name}"
            yield f"{shown(what)}: not rotated, for {shown(other)} logs in as the same user; give each its own"
    targets = _targets(sight, rotation)
    exposed = (secret for secret in sight.secrets if not _is_own(secret.path) and rotated.get(secret.path) != ())
    for secret in sorted(exposed, key=lambda secret: _importance(secret, targets, sight)):
        target = targets.get(secret.path, "")
        if secret.path in rotated:
            yield f"{shown(secret.path)}: rotated, but not its {', '.join(map(shown, rotated[secret.path]))}"
            continue
        told = f" (rotation target {target})" if target else ""
        yield f"{shown(secret.path)}{told}: {_age(secret, now)}"
    for one in sight.exposure.shared:
        yield f"{one.mount.path}{one.path}: a shared folder; other environments read it too"


def _sessions(rotation: Mapping[str, Rotation], rotated: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Neither system looks again at a login that it has let in."""
    for name, target in rotation.items():
        if not any(path.endswith(f"/{target.secret}") for path in rotated):
            continue
        match target:
            case Postgres(terminate=False):
                roles = ", ".join("'{}'".format(role.replace("'", "''")) for role in target.roles)
                where = f"FROM pg_stat_activity WHERE usename IN ({shown(roles)})"
                yield f"{name}: SELECT pg_terminate_backend(pid) {where}; `terminate: true` does it"
            case Redis():
                yield f"{name}: CLIENT KILL USER {shown(target.user or 'USERNAME')}"
            case _:
                pass


def _is_own(path: str) -> bool:
    return any(path.endswith(end) or (end.endswith("/") and end in path) for end in _NO_SECRETS)


def _targets(sight: Sight, rotation: Mapping[str, Rotation]) -> Mapping[str, str]:
    """The names of rotation targets, by the whole path of what they rotate; those of admins first."""
    found: dict[str, str] = {}
    for secret in sight.secrets:
        for admin in (True, False):
            for name, target in rotation.items():
                path = admin_of(target) if admin else target.secret
                if path is not None and secret.path.endswith(f"/{path}"):
                    found.setdefault(secret.path, f"{name}{_ADMIN}" if admin else name)
    return found


def _importance(secret: Secret, targets: Mapping[str, str], sight: Sight) -> tuple[int, int, float, str]:
    target = targets.get(secret.path)
    group = 2 if target is None else 0 if target.endswith(_ADMIN) else 1
    folder = next(
        (
            secret.path.removeprefix(f"{one.mount.path}{one.path}").split("/")[0]
            for one in sight.exposure.kept
            if secret.path.startswith(f"{one.mount.path}{one.path}")
        ),
        "",
    )
    rank = _FIRST.index(folder) if folder in _FIRST else len(_FIRST)
    return group, rank, secret.created or 0, secret.path


def _age(secret: Secret, now: float) -> str:
    if secret.version is None or secret.created is None:
        return "age unknown"
    days = max(0.0, now - secret.created) / DAY
    return f"version {secret.version}, {days:.0f} days old" if days >= 1 else f"version {secret.version}, of today"


def _spared(sight: Sight) -> Iterator[str]:
    _, spared = doomed(sight)
    for one in spared:
        yield f"token {shown(str(one.token))}: {one.why}"


def _ways_in(sight: Sight) -> Iterator[str]:
    for role in sight.roles:
        if not role.binds_secret_id:
            yield f"{shown(str(role))} lets in without a secret_id: its role_id is enough from its addresses"
    for login in sight.logins:
        given = ", ".join(map(shown, login.policies))
        yield f"{shown(login.path)} gives {given}: change its credential, or take it away"
    for name in sorted(set(sight.policies) - sight.names):
        made = [str(role) for role in sight.roles if _may_make(sight, name, role)]
        if made:
            yield f"policy {shown(name)} may make secret_ids of {', '.join(map(shown, made))}: who has it?"


def _may_make(sight: Sight, name: str, role: Role) -> bool:
    paths = (f"auth/{role.mount}/role/{role.name}/{end}" for end in ("secret-id", "custom-secret-id"))
    return any(grants(sight.policies, [name], path) & MAKING for path in paths)


def _unrevocable(sight: Sight) -> Iterator[str]:
    for role in sight.roles:
        if role.batch:
            ttl = f"{role.ttl:.0f} s" if role.ttl else "its mount's default"
            yield f"{shown(str(role))} gives batch tokens, which have no accessor: they end by themselves within {ttl}"
    for login in sight.logins:
        if login.batch:
            yield f"{shown(login.path)} gives batch tokens, which have no accessor: they end by themselves"
    if sight.struck:
        ttl = f"within {sight.batch_ttl / HOUR:.0f} h" if sight.batch_ttl else "in their time"
        yield f"batch tokens that were made by hand cannot be seen: they end with their parent, or {ttl}"


def _certificates(sight: Sight) -> Iterator[str]:
    for mount, count in sight.certificates.items():
        if count:
            yield f"{mount}: {count} issued; `bao list {mount}certs`, then revoke each, and rotate its CRL"


def _suspected(sight: Sight) -> Iterator[str]:
    for one in sight.struck:
        if one.way is Way.TEMPLATED:
            yield f"{shown(one.policy)}: what its {{{{…}}}} stands for depends on who asks; who has it was struck"
        elif one.way is Way.UNREADABLE:
            yield f"{shown(one.policy)}: its text cannot be read here; who has it was struck"


def _elsewhere(sight: Sight) -> Iterator[str]:
    if sight.namespaces:
        names = ", ".join(map(shown, sight.namespaces))
        yield f"tokens of other namespaces were not looked at: {names}"
