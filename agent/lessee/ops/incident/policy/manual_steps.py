"""The steps that a user must take after a leak, the most important first."""

from collections.abc import Collection, Iterator, Mapping

from lessee.config.grammar.rotation import Mysql, Postgres, Rabbitmq, Redis, Rotation, admin_of, written_by
from lessee.core.consumers import CONSUMER_FOLDER, JOURNAL_FOLDER
from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import fields, is_not_secret
from lessee.ops.incident.policy.findings import AccessKind, Findings, Role, Secret
from lessee.ops.incident.policy.targets import CREATE_CAPABILITIES, granted, tokens_to_revoke
from lessee.ops.rotate.policy.report import printable

DAY = 86400.0
HOUR = 3600.0
_WITHOUT_SECRETS = ("/lessee/setup", f"/{JOURNAL_FOLDER}", f"/{CONSUMER_FOLDER}")
"""lessee's own documents: fingerprints of setup, journals of rotations, and reports of consumers."""
_IMPORTANT_FOLDERS = ("database", "api-keys", "storage")
"""Folders of secrets for other systems, the most important first."""
_ADMIN = ", its admin"
_NONE: Mapping[str, Collection[str]] = {}


class ManualStep(ImmutableStruct, frozen=True):
    """A title, and the objects that it applies to, one per line."""

    title: str
    lines: tuple[str, ...]


def manual_steps(
    findings: Findings, rotation: Mapping[str, Rotation], now: float, rotated: Mapping[str, Collection[str]] = _NONE
) -> tuple[ManualStep, ...]:
    """The steps that apply. `now`: seconds since 1970. `rotated`: as `rotated_secrets` returns it."""
    steps = (
        ManualStep(
            "change in the system that owns it, then write to Vault",
            tuple(_secrets(findings, rotation, now, rotated)),
        ),
        ManualStep("end sessions that use the old credentials", tuple(_sessions(rotation, rotated))),
        ManualStep("check, then revoke with `bao token revoke -accessor ACCESSOR`", tuple(_skipped_tokens(findings))),
        ManualStep("close logins that are still open", tuple(_open_logins(findings))),
        ManualStep("wait for tokens that cannot be revoked", tuple(_batch_tokens(findings))),
        ManualStep("revoke certificates, which stay valid until they expire", tuple(_certificates(findings))),
        ManualStep("check policies that may grant access to the environment", tuple(_uncertain_policies(findings))),
        ManualStep("check other namespaces", tuple(_namespaces(findings))),
    )
    return tuple(step for step in steps if step.lines)


def unchanged(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """The keys whose values are the same, except those that are not secret by their names."""
    new = dict(fields(after))
    return tuple(
        key for key, value in fields(before) if value and new.get(key) == value and not is_not_secret(key, value)
    )


def _secrets(
    findings: Findings, rotation: Mapping[str, Rotation], now: float, rotated: Mapping[str, Collection[str]]
) -> Iterator[str]:
    for database in findings.databases:
        for name, other in database.shared.items():
            credential = f"root credential of {database.mount}/{name}"
            yield f"{printable(credential)}: not rotated, since {printable(other)} uses the same user; separate them"
    targets = _targets(findings, rotation)
    exposed = (
        secret for secret in findings.secrets if not _has_no_secret(secret.path) and rotated.get(secret.path) != ()
    )
    for secret in sorted(exposed, key=lambda secret: _importance(secret, targets, findings)):
        target = targets.get(secret.path, "")
        if secret.path in rotated:
            keys = ", ".join(map(printable, rotated[secret.path]))
            yield f"{printable(secret.path)}: rotated, except its keys {keys}"
            continue
        suffix = f" (rotation target {target})" if target else ""
        yield f"{printable(secret.path)}{suffix}: {_age(secret, now)}"
    for location in findings.exposure.shared:
        yield f"{location.mount.path}{location.path}: a shared folder, which other environments read too"


def _sessions(rotation: Mapping[str, Rotation], rotated: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Sessions of systems that do not check a login again."""
    for name, target in rotation.items():
        if not any(path.endswith(f"/{target.secret}") for path in rotated):
            continue
        match target:
            case Postgres(terminate=False):
                roles = ", ".join("'{}'".format(role.replace("'", "''")) for role in target.roles)
                where = f"FROM pg_stat_activity WHERE usename IN ({printable(roles)})"
                yield f"{name}: SELECT pg_terminate_backend(pid) {where}; `terminate: true` does this"
            case Mysql(terminate=False):
                for user in target.users:
                    yield f"{name}: KILL USER {printable(user)} (MariaDB); `terminate: true` does this"
            case Rabbitmq(keep_name=True):
                yield f"{name}: rabbitmqctl close_all_user_connections {printable(target.user)} leak"
            case Redis():
                yield f"{name}: CLIENT KILL USER {printable(target.user)}"
            case _:
                pass


def _has_no_secret(path: str) -> bool:
    return any(path.endswith(end) or (end.endswith("/") and end in path) for end in _WITHOUT_SECRETS)


def _targets(findings: Findings, rotation: Mapping[str, Rotation]) -> Mapping[str, str]:
    """The names of rotation targets by the path of their secret; a target whose admin uses the secret is preferred."""
    found: dict[str, str] = {}
    for secret in findings.secrets:
        for admin in (True, False):
            for name, target in rotation.items():
                paths = (admin_of(target),) if admin else written_by(target)
                if any(path is not None and secret.path.endswith(f"/{path}") for path in paths):
                    found.setdefault(secret.path, f"{name}{_ADMIN}" if admin else name)
    return found


def _importance(secret: Secret, targets: Mapping[str, str], findings: Findings) -> tuple[int, int, float, str]:
    target = targets.get(secret.path)
    group = 2 if target is None else 0 if target.endswith(_ADMIN) else 1
    bases = (f"{location.mount.path}{location.path}" for location in findings.exposure.locations)
    base = next((base for base in bases if secret.path.startswith(base)), None)
    folder = secret.path.removeprefix(base).split("/")[0] if base is not None else ""
    rank = _IMPORTANT_FOLDERS.index(folder) if folder in _IMPORTANT_FOLDERS else len(_IMPORTANT_FOLDERS)
    return group, rank, secret.created or 0, secret.path


def _age(secret: Secret, now: float) -> str:
    if secret.version is None or secret.created is None:
        return "age unknown"
    days = max(0.0, now - secret.created) / DAY
    return f"version {secret.version}, {days:.0f} days old" if days >= 1 else f"version {secret.version}, from today"


def _skipped_tokens(findings: Findings) -> Iterator[str]:
    _, skipped = tokens_to_revoke(findings)
    for token in skipped:
        yield f"token {printable(str(token.token))}: {token.reason}"


def _open_logins(findings: Findings) -> Iterator[str]:
    for role in findings.roles:
        if findings.protects((role.name, *role.policies)):
            yield f"{printable(str(role))} is protected by --protect, and its secret_ids are left"
        if not role.binds_secret_id:
            yield f"{printable(str(role))} needs no secret_id: its role_id is enough from the bound addresses"
    for login in findings.logins:
        policies = ", ".join(map(printable, login.policies))
        yield f"{printable(login.path)} grants {policies}: change its credential, or delete it"
    for name in sorted(set(findings.policies) - findings.affected_names):
        roles = [str(role) for role in findings.roles if _may_create_secret_ids(findings, name, role)]
        if roles:
            names = ", ".join(map(printable, roles))
            yield f"policy {printable(name)} may create secret_ids of {names}: check which clients have it"


def _may_create_secret_ids(findings: Findings, name: str, role: Role) -> bool:
    paths = (f"auth/{role.mount}/role/{role.name}/{end}" for end in ("secret-id", "custom-secret-id"))
    return any(granted(findings.policies, [name], path) & CREATE_CAPABILITIES for path in paths)


def _batch_tokens(findings: Findings) -> Iterator[str]:
    for role in findings.roles:
        if role.batch:
            ttl = f"{role.ttl:.0f} s" if role.ttl else "its mount's default TTL"
            yield f"{printable(str(role))} issues batch tokens, which have no accessor: they expire within {ttl}"
    for login in findings.logins:
        if login.batch:
            yield f"{printable(login.path)} issues batch tokens, which have no accessor: wait until they expire"
    if findings.affected_policies:
        ttl = f"within {findings.batch_token_ttl / HOUR:.0f} h" if findings.batch_token_ttl else "after their TTL"
        yield f"batch tokens that were created manually cannot be listed: they expire with their parent, or {ttl}"


def _certificates(findings: Findings) -> Iterator[str]:
    for mount, count in findings.certificates.items():
        if count:
            yield f"{mount}: {count} issued; `bao list {mount}certs`, then revoke each, and rotate its CRL"


def _uncertain_policies(findings: Findings) -> Iterator[str]:
    for policy in findings.affected_policies:
        name = printable(policy.name)
        if policy.access is AccessKind.TEMPLATED:
            yield f"{name}: its {{{{…}}}} depends on the client; access of all clients that have it was revoked"
        elif policy.access is AccessKind.UNREADABLE:
            yield f"{name}: it cannot be parsed; access of all clients that have it was revoked"


def _namespaces(findings: Findings) -> Iterator[str]:
    if findings.namespaces:
        names = ", ".join(map(printable, findings.namespaces))
        yield f"tokens of other namespaces were not checked: {names}"
