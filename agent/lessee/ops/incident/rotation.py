"""Rotates a target after a leak: the old credential is revoked immediately, even while apps use it."""

from lessee.config.grammar.rotation import Ldap, Mysql, Postgres, Rabbitmq, Rotation, VaultValues
from lessee.core.distinguished_names import position
from lessee.core.errors import LesseeError
from lessee.ops.incident.policy.manual_steps import unchanged
from lessee.ops.rotate.command.context import translate_unexpected_errors
from lessee.ops.rotate.documents import DocumentStore
from lessee.ops.rotate.policy.broker_users import is_name_of
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.report import printable
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.vault.admin import AdminClient


def rotate_immediately(project: Project, name: str, client: AdminClient) -> tuple[str, ...]:
    """Rotate without a wait for consumers, and also replace the credential of an open rotation, which may be known too.

    Returns the keys of the secret that did not change. Raises the errors of `open_rotation` and `TargetRotation.run`,
    and LesseeError where the old credential belongs to a user that lessee may not revoke.
    """
    config, target = project.config_of(name), project.target(name)
    store = DocumentStore(client, project.config.secrets.mount)
    before = store.read(target.path).fields
    with translate_unexpected_errors(), open_rotation(project, name, client, immediate=True) as rotation:
        rotation.run(finish_only=True)
        rotation.run(force=True)
        if isinstance(config, VaultValues) and any(value.previous_key is not None for value in config.keys.values()):
            # Readers still accept the previous value, so it must become one that was never exposed.
            rotation.run(force=True)
    _check_user(config, before, target.path)
    return unchanged(before, store.read(target.path).fields)


def _check_user(config: Rotation, before: Fields, where: str) -> None:
    match config:
        case Postgres(roles=known):
            key, user, todo = "roles", before.get("username"), "ALTER ROLE … NOLOGIN"
        case Mysql(users=known):
            key, user, todo = "users", before.get("username"), "ALTER USER … ACCOUNT LOCK"
        case Rabbitmq():
            key, user, todo = "user", before.get("username"), "rabbitmqctl clear_password USER"
            known = (str(user),) if is_name_of(user, config.user) else ()
        case Ldap(accounts=accounts):
            key, user, todo = "accounts", before.get("dn"), "ldapmodify, and delete its userPassword"
            known = (str(user),) if position(user, accounts) >= 0 else ()
        case _:
            return
    if user and user not in known:
        todo = f"the apps have the new credential; revoke the old one: {todo}"
        raise LesseeError(f"{printable(str(user))} is not in `{key}`, and can still log in", where=where, todo=todo)
