"""Writes each kind of object with the hvac method that is named after it."""

from collections.abc import Mapping
from typing import Any

from lessee.ops.setup.policy.objects import Kind, Object
from lessee.vault.admin import AdminClient


def create(client: AdminClient, new: Object, body: Mapping[str, Any]) -> None:
    """Make an object that the server does not have. Raises DeniedError or VaultUnreachableError."""
    match new.kind:
        case Kind.KV | Kind.ENGINE:
            settings = {key: body[key] for key in ("config", "options") if key in body}
            client.hvac.sys.enable_secrets_engine(body["type"], path=_below(new, "sys/mounts/"), **settings)
        case Kind.AUTH:
            client.hvac.sys.enable_auth_method(body["type"], path=_below(new, "sys/auth/"))
        case Kind.AUDIT:
            path = _below(new, "sys/audit/")
            client.hvac.sys.enable_audit_device(body["type"], path=path, options=body["options"])
        case Kind.CA:
            mount, settings = new.path.removesuffix("/root/generate/internal"), dict(body)
            name = settings.pop("common_name")
            client.hvac.secrets.pki.generate_root("internal", name, extra_params=settings, mount_point=mount)
        case _:
            write(client, new, body)


def write(client: AdminClient, changed: Object, body: Mapping[str, Any]) -> None:
    """Write an object over what is there. Raises DeniedError or VaultUnreachableError."""
    match changed.kind:
        case Kind.ENGINE:
            client.hvac.sys.tune_mount_configuration(_below(changed, "sys/mounts/"), **body)
        case Kind.POLICY:
            client.hvac.sys.create_or_update_acl_policy(_below(changed, "sys/policies/acl/"), body["policy"])
        case Kind.ROLE:
            client.hvac.auth.approle.create_or_update_approle(**approle(changed), **body)
        case Kind.CONNECTION:
            mount, name = changed.path.split("/config/", 1)
            client.hvac.secrets.database.configure(name, mount_point=mount, **body)
        case Kind.DATABASE_ROLE:
            mount, name = changed.path.split("/roles/", 1)
            client.hvac.secrets.database.create_role(name, mount_point=mount, **body)
        case _:
            # The rest is written by its path. hvac's update_metadata would reset a secret's delete_version_after, its
            # create_or_update_role of PKI adds the name to the body, and settings of auth methods are not written.
            client.write(changed.path, body)


def approle(role: Object) -> dict[str, str]:
    """The arguments by which hvac's AppRole methods name a role."""
    mount, name = role.path.removeprefix("auth/").split("/role/", 1)
    return {"role_name": name, "mount_point": mount}


def _below(one: Object, prefix: str) -> str:
    return one.path.removeprefix(prefix)
