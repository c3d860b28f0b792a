"""Makes the logins of a drill's agents: a role for each login of the configuration, and its credentials."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from lessee.config import Vault
from lessee.config.grammar.vault import AppRole, Auth
from lessee.core.paths import Ref
from lessee.ops.access.policy.least_privilege import Engine, identities, kv_mounts, policy, text_of
from lessee.rendering.app_templates import CompiledApp
from lessee.vault.admin import AdminClient

MOUNT = "lessee-drill"
"""The auth method of the drill's agents."""
_VERSIONED = 2


class Logins:
    """The logins of the agents. A login keeps the name of its role on each server."""

    def __init__(self, top: Vault, vault: Vault, folder: Path) -> None:
        """`top`: the configuration's own login. `vault`: how the agents reach the drill's server."""
        self._top, self._vault, self._folder = top, vault, folder
        self._names: dict[Vault, str] = {}
        """The roles, by the real login."""

    def create(
        self, client: AdminClient, apps: Mapping[str, CompiledApp], rotated: frozenset[Ref], *, is_restored: bool
    ) -> tuple[str, ...]:
        """Make the roles and credentials of these apps' agents on a server. Returns notes for the report.

        On a restored server a role has the policies with which the agent really logs in, so that a drill tries them
        too, and elsewhere the least ones. `rotated`: the secrets that the drill rotates.
        """
        if f"{MOUNT}/" not in (client.read("sys/auth") or {}):
            client.write(f"sys/auth/{MOUNT}", {"type": "approle"})
        notes = []
        for login, compiled_apps in identities(apps.values(), self._top).items():
            name = self._names.setdefault(login, f"login-{len(self._names)}")
            restored = _restored_role(client, login.auth) if is_restored else None
            if restored is not None and (policies := _policies(client, restored)):
                names = ", ".join(compiled_app.app.name for compiled_app in compiled_apps)
                notes.append(f"{names}: with the policies of the restored role {restored.rpartition('/')[-1]}")
            else:
                policies = [f"{MOUNT}-{name}"]
                text = _least_policy(client, login, compiled_apps, rotated)
                client.write(f"sys/policies/acl/{MOUNT}-{name}", {"policy": text})
            role = {"token_policies": policies, "token_ttl": "1h", "token_max_ttl": "24h"}
            client.write(f"auth/{MOUNT}/role/{name}", role)
            self._deliver(client, name)
        return tuple(notes)

    def deliver(self, client: AdminClient, apps: Mapping[str, CompiledApp]) -> None:
        """Give the agents of these apps new secret_ids, as `lessee setup --output` makes them."""
        for name in self._roles(apps).values():
            self._deliver(client, name)

    def by_real_login(self, apps: Mapping[str, CompiledApp]) -> dict[Vault, Vault]:
        """How the agents of these apps log in to the drill's server, by how they really log in."""
        found = {login: self._login(name) for login, name in self._roles(apps).items()}
        # Where each app has its own login, the configuration's is that of no app.
        found.setdefault(self._top, next(iter(found.values())))
        return found

    def new_secret_id(self, client: AdminClient, apps: Mapping[str, CompiledApp]) -> tuple[str, str]:
        """A role_id and a secret_id of the first agent: what leaks."""
        role = f"auth/{MOUNT}/role/{next(iter(self._roles(apps).values()))}"
        role_id = str((client.read(f"{role}/role-id") or {})["role_id"])
        return role_id, str(client.write(f"{role}/secret-id").data["secret_id"])

    def _roles(self, apps: Mapping[str, CompiledApp]) -> dict[Vault, str]:
        return {login: self._names[login] for login in identities(apps.values(), self._top)}

    def _login(self, name: str) -> Vault:
        folder = self._folder / name
        auth = AppRole(role_id_file=str(folder / "role_id"), secret_id_file=str(folder / "secret_id"), mount=MOUNT)
        return replace(self._vault, auth=auth)

    def _deliver(self, client: AdminClient, name: str) -> None:
        folder, role = self._folder / name, f"auth/{MOUNT}/role/{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        _replace(folder / "role_id", str((client.read(f"{role}/role-id") or {})["role_id"]))
        _replace(folder / "secret_id", str(client.write(f"{role}/secret-id").data["secret_id"]))


def remove_logins(client: AdminClient) -> None:
    """Remove the logins of a drill from a server that remains."""
    client.delete(f"sys/auth/{MOUNT}")
    for name in client.list("sys/policies/acl"):
        if name.startswith(f"{MOUNT}-"):
            client.delete(f"sys/policies/acl/{name}")


def _restored_role(client: AdminClient, auth: Auth) -> str | None:
    """The path of the role with which an agent really logs in; None where it is not known here."""
    role_id = _role_id(auth)
    if role_id is None or not isinstance(auth, AppRole):
        return None
    roles = f"auth/{auth.mount}/role"
    for name in client.list(roles):
        if (client.read(f"{roles}/{name}/role-id") or {}).get("role_id") == role_id:
            return f"{roles}/{name}"
    return None


def _policies(client: AdminClient, role: str) -> list[str]:
    found: list[str] = (client.read(role) or {}).get("token_policies") or []
    return found


def _least_policy(
    client: AdminClient, login: Vault, compiled_apps: tuple[CompiledApp, ...], rotated: frozenset[Ref]
) -> str:
    engines = {mount: _engine(client, mount) for mount in kv_mounts(login, compiled_apps)}
    return text_of(policy(login, compiled_apps, Engine(_VERSIONED, detailed=True), rotated, engines=engines))


def _engine(client: AdminClient, mount: str) -> Engine:
    version = client.kv_version(mount)
    return Engine(version, detailed=version == _VERSIONED and client.lists_kv_versions(mount))


def _role_id(auth: Auth) -> str | None:
    """The role_id of the configuration; None if it has none that this user may read."""
    if not isinstance(auth, AppRole):
        return None
    if auth.role_id_file is None:
        return auth.role_id
    with suppress(OSError, UnicodeDecodeError):
        return Path(auth.role_id_file).read_text(encoding="ascii").strip()
    return None


def _replace(path: Path, text: str) -> None:
    """Write a file that the agent may read at any moment."""
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(text, encoding="ascii")
    part.replace(path)
