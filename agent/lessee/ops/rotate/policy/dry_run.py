"""Describes what a rotation would do, and which capabilities the rotator's token lacks for it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, assert_never

from lessee.config.durations import spell
from lessee.config.grammar import rotation as g
from lessee.core.consumers import CONSUMER_FOLDER, ConfirmationStatus
from lessee.core.distinguished_names import position
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.journal import FOLDER, Fields, Journal, Step
from lessee.ops.rotate.policy.report import rfc3339
from lessee.ops.rotate.policy.selection import DueOperation

Capabilities = Mapping[str, Collection[str]]
"""Capabilities in Vault, by path."""
_TWO_ROLES = 2
_REMAINING = {
    Step.CREATING: "an interrupted request for a new credential is cleaned up and repeated",
    Step.CREATED: "the new credential is verified, set in the system if it is missing there, and published",
    Step.PUBLISHED: "the new credential is published; the old one is revoked once all consumers have confirmed",
}


class Preview(ImmutableStruct, frozen=True):
    """A target before its rotation. `path`: its secret, with the mount. `version` 0: there is no secret."""

    hidden = ("fields",)

    name: str
    config: g.Rotation
    operation: DueOperation
    path: str
    version: int
    fields: Fields
    journal: Journal
    confirmation: ConfirmationStatus | None
    now: float
    """Seconds since 1970."""


def describe(preview: Preview) -> Iterator[str]:
    """Lines about the target and what would be done. They hold no value."""
    config, journal = preview.config, preview.journal
    if preview.operation is DueOperation.NOTHING:
        return
    secret = f"version {preview.version}" if preview.version else "does not exist yet"
    would = "would be rotated" if preview.operation is DueOperation.ROTATE else "would be finished"
    yield f"{preview.name}: {would}: {preview.path} ({secret})"
    if journal.is_open:
        yield f"  open since {rfc3339(journal.started_at)}: {_REMAINING[journal.step]}"
    elif journal.step is Step.RETAINING:
        yield f"  first deletes the previous credential, disabled until {rfc3339(journal.delete_at)}"
    if preview.operation is DueOperation.ROTATE:
        yield from (f"  {line}" for line in _changes(config, preview.fields))
    timeout = spell(config.confirmation_timeout)
    if config.has_consumers:
        yield f"  waits at most {timeout} for {_consumers(preview.confirmation, config)}"


def required_capabilities(mount: str, prefix: str, path: str, name: str, others: Collection[str] = ()) -> Capabilities:
    """The capabilities that a rotator's token needs, by path. `others`: more secrets that it writes."""
    journal = f"{prefix}{FOLDER}{name}"
    return {
        f"{mount}/data/{journal}": ("read", "create", "update"),
        f"{mount}/metadata/{journal}": ("create", "update"),
        f"{mount}/data/{path}": ("read", "create", "update"),
        f"{mount}/metadata/{path}": ("read", "update"),
        **{f"{mount}/data/{prefix}{other}": ("read", "create", "update") for other in others},
        f"{mount}/metadata/{prefix}{CONSUMER_FOLDER}": ("list",),
        f"{mount}/metadata/{prefix}{CONSUMER_FOLDER}APP/INSTANCE": ("read", "delete"),
    }


def missing_capabilities(required: Capabilities, granted: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """The required capabilities that are not granted; `granted` as in sys/capabilities-self."""
    found: dict[str, list[str]] = {}
    for path, capabilities in required.items():
        own = granted.get(path, ())
        missing = [] if "root" in own else [capability for capability in capabilities if capability not in own]
        if missing:
            found[path] = missing
    return found


def _consumers(confirmation: ConfirmationStatus | None, config: g.Rotation) -> str:
    if confirmation is None:
        return "its consumers, which cannot be read"
    names = sorted({*confirmation.confirmed, *confirmation.missing, *config.consumers})
    return ", ".join(names) or "its consumers, none of which is known"


def _changes(config: g.Rotation, fields: Fields) -> Iterator[str]:
    """What changes in the system."""
    match config:
        case g.Postgres(roles=roles):
            yield from _roles(roles, str(fields.get("username", "")))
        case g.PostgresAdmins(roles=roles):
            yield from _roles(roles, str(fields.get("username", "")))
            yield "the published admin sets the password of the other, which later disables the first"
        case g.Redis(user=user):
            yield f"the ACL user {user} gets a second password, and later loses the first"
        case g.Mysql() | g.Rabbitmq() | g.Ldap():
            yield from _accounts(config, fields)
        case g.S3(user=user, delete_delay=delay):
            yield f"the user {user} gets a second key; the old one is disabled, and deleted after {spell(delay)}"
        case g.S3Admin(user=user, delete_delay=delay):
            yield (
                f"the admin {user} gives itself a second key; with that, it disables the old one, "
                f"and deletes it after {spell(delay)}"
            )
        case g.Minio(user=user, delete_delay=delay):
            parent = user if user is not None else "of the admin"
            yield (
                f"the user {parent} gets a new service account; "
                f"the old one is disabled, and deleted after {spell(delay)}"
            )
        case g.ApiKey(recipe=recipe):
            yield f"the recipe {recipe} creates a new key and revokes the old one"
        case g.Manual(keys=keys):
            yield f"a user creates the new credential, and enters {', '.join(keys)}"
        case g.VaultValues(keys=keys, approle=approle):
            for key, value in keys.items():
                yield f"{key}: {value.generate} random characters" + _previous(value.previous_key)
            if approle is not None:
                yield f"the AppRole {config.mount}/{approle} gets a new secret_id; the old one is destroyed"
        case g.VerifiedTarget():
            yield from _verified(config, fields)
        case g.SecretIdFile(approle=approle, secret_id_file=file):
            yield f"the AppRole {config.mount}/{approle} gets a new secret_id, in {file}"
            yield f"the one that it replaces is destroyed {spell(config.revoke_delay)} after a login with the new one"
        case g.DatabaseRoot(connection=connection):
            yield f"Vault sets a new password for the root user of {config.mount}/{connection}, and only Vault has it"
            if config.admin_secret is None:
                yield "WARNING: without `admin_secret`, a person must repair the connection if Vault loses the password"
        case g.CustomRotation(command=command):
            yield f"the command {command[0]} creates a new credential and revokes the old one"
        case _:
            assert_never(config)


def _accounts(config: g.Mysql | g.Rabbitmq | g.Ldap, fields: Fields) -> Iterator[str]:
    match config:
        case g.Mysql(users=users):
            yield from _users(users, str(fields.get("username", "")))
        case g.Rabbitmq(user=user, keep_name=True):
            yield f"the user {user} gets a new password"
            yield "WARNING: logins fail until the apps have the new password; remove `keep_name`"
        case g.Rabbitmq(user=user, delete_delay=delay):
            old = fields.get("username", "of the secret")
            yield f"a user {user}-… gets the permissions of {old}, which is disabled, and deleted after {spell(delay)}"
        case g.Ldap(accounts=accounts):
            number = position(fields.get("dn"), accounts)
            yield from _users(accounts, accounts[number] if number >= 0 else "", "entry")
        case _:
            assert_never(config)


def _verified(config: g.VerifiedTarget, fields: Fields) -> Iterator[str]:
    what, until = "credential", "is removed when all clients use the new one"
    match config:
        case g.BasicAuth(users=users):
            what = f"password of the user {users[fields.get('username') == users[0]]}"
        case g.JwtKey(token_ttl=ttl):
            what, until = "public key", f"is removed {spell(ttl)} after all signers use the new one"
        case g.SigningKey(delete_delay=delay):
            what, until = "public key", f"is removed {spell(delay)} after all signers use the new one"
        case g.AgeIdentity(delete_delay=None):
            what, until = "identity", "stays there"
        case g.AgeIdentity(delete_delay=float() as delay):
            what, until = "identity", f"is removed after {spell(delay)}"
        case _:
            pass
    yield f"{config.verifier_secret} gets the new {what}, and the old one {until}"
    verifiers = ", ".join(config.verifiers) or "the servers that have confirmed it before"
    yield f"waits for {verifiers} at most {spell(config.confirmation_timeout)} before it publishes the new one"


def _previous(key: str | None) -> str:
    return f"; the previous value is stored in {key} until the next rotation" if key is not None else ""


def _users(users: tuple[str, ...], current: str, what: str = "user") -> Iterator[str]:
    if len(users) < _TWO_ROLES:
        yield f"the {what} {users[0]} gets a second password, and later loses the first"
        return
    number = users.index(current) if current in users else -1
    old = current if number >= 0 else f"{'an' if what == 'entry' else 'a'} {what} that is not configured"
    yield f"from {old} to {users[(number + 1) % len(users)]}, with a new password"


def _roles(roles: tuple[str, ...], current: str) -> Iterator[str]:
    if len(roles) < _TWO_ROLES:
        yield f"the role {roles[0]} gets a new password"
        yield "WARNING: with one role, logins fail until the apps have the new password; configure two roles"
        return
    position = roles.index(current) if current in roles else -1
    old = roles[position] if position >= 0 else "a role that is not configured"
    yield f"from {old} to the role {roles[(position + 1) % len(roles)]}, with a new password"
