"""Reads the state of a server, with GET and LIST requests only."""

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from lessee.config import Config
from lessee.core.errors import VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind as Failed
from lessee.ops.setup.policy.desired_state import KV, Desired, InitialSecret, record_path
from lessee.ops.setup.policy.objects import Fields, Kind, Object, fields_of
from lessee.ops.setup.policy.server_state import SecretState, ServerState, SetupRecord, from_data
from lessee.vault.admin import AdminClient


def require_ready(client: AdminClient) -> None:
    """Raises VaultUnreachableError where the server is not initialized, sealed or unavailable."""
    try:
        health = client.health()
    except VaultRequestError as exc:
        if exc.kind in {Failed.INVALID, Failed.UNSUPPORTED}:
            return  # A namespace has no sys/health: it belongs to the whole server.
        raise
    if not health["initialized"]:
        todo = "run `lessee setup --init DIR` to initialize a new server"
        raise VaultUnreachableError("Vault is not initialized", where=client.address, todo=todo)
    if health["sealed"]:
        raise VaultUnreachableError(
            "Vault is sealed", where=client.address, todo="run `bao operator unseal` or `lessee setup --unseal DIR`"
        )


class Discovery:
    """Reads a server, each path once. Raises DeniedError or VaultUnreachableError."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self._read: dict[str, Mapping[str, Any] | None] = {}

    def state(self, configs: Mapping[str, Config], desired: Iterable[Desired]) -> ServerState:
        """The desired objects and secrets that exist, and the existing objects that setup wrote before."""
        [config, *_] = configs.values()
        recorded: dict[str, SetupRecord] = {}
        for environment, own in {"": config, **configs}.items():
            if (entries := self.recorded(own, environment)) is not None:
                recorded[environment] = entries
        objects: dict[str, Fields] = {}
        secrets: dict[str, SecretState] = {}
        checked: set[str] = set()
        for item in desired:
            checked.add(item.path)
            if isinstance(item, InitialSecret):
                secret_state = self.secret_state(item.mount, item.path)
                if secret_state is not None:
                    secrets[item.name] = secret_state
            elif (found := self._object(item)) is not None:
                objects[item.path] = found
        for entries in recorded.values():
            for path, entry in entries.items():
                if path not in checked and (found := self._existing(entry.kind, path)) is not None:
                    objects[path] = fields_of(entry.kind, found, entry.keys)
        return ServerState(objects, secrets, recorded)

    def recorded(self, config: Config, environment: str) -> SetupRecord | None:
        """The record of this environment, None where setup never ran. "" is the record that all of them share."""
        mount = config.secrets.mount
        data = self._get(f"{mount}/data/{record_path(config, environment)}") if self._is_kv(mount) else None
        return None if data is None else from_data(data.get("data") or {}, environment)

    def secret_state(self, mount: str, path: str) -> SecretState | None:
        """A secret's newest version and the names of its keys; None if it never existed."""
        data = self._get(f"{mount}/metadata/{path}") if self._is_kv(mount) else None
        version = int((data or {}).get("current_version") or 0)
        if data is None or version == 0:
            return None
        # Reads the names of the keys, not their values.
        found = self._get(f"{mount}/subkeys/{path}")
        return SecretState(version, frozenset((found or {}).get("subkeys") or {}), deleted=found is None)

    def _object(self, desired: Object) -> Fields | None:
        if desired.kind is Kind.AUDIT:
            # Any device that writes to this file will do, whatever its name is.
            devices = (self._get("sys/audit") or {}).values()
            if any(fields_of(desired.kind, device, desired.fields) == desired.fields for device in devices):
                return desired.fields
        if desired.kind is Kind.CA and self._is_mounted(desired.name):
            return desired.fields if self._client.list(f"{desired.name}/issuers") else None
        found = self._existing(desired.kind, desired.path)
        return None if found is None else fields_of(desired.kind, found, desired.fields)

    def _existing(self, kind: Kind, path: str) -> Mapping[str, Any] | None:
        match kind:
            case Kind.KV | Kind.ENGINE:
                return self._listed("sys/mounts", path)
            case Kind.AUTH:
                return self._listed("sys/auth", path)
            case Kind.AUDIT:
                return self._listed("sys/audit", path)
            case Kind.POLICY:
                return self._get(path)
            case Kind.SETTINGS:
                return self._get(path) if self._is_kv(path.partition("/metadata/")[0]) else None
            case Kind.ROLE | Kind.CONNECTION | Kind.DATABASE_ROLE | Kind.PKI_ROLE:
                # The path is the mount, the type of the object, and its name.
                return self._get(path) if self._is_mounted(path.rsplit("/", 2)[0]) else None
            case Kind.CA:
                return None
            case _:
                assert_never(kind)

    def _listed(self, listing: str, path: str) -> Mapping[str, Any] | None:
        found = (self._get(listing) or {}).get(f"{path.removeprefix(f'{listing}/')}/")
        return found if isinstance(found, Mapping) else None

    def _is_kv(self, mount: str) -> bool:
        found = self._listed("sys/mounts", f"sys/mounts/{mount}")
        return found is not None and fields_of(Kind.KV, found, KV) == KV

    def _is_mounted(self, mount: str) -> bool:
        listing = "sys/auth" if mount.startswith("auth/") else "sys/mounts"
        return self._listed(listing, f"{listing}/{mount.removeprefix('auth/')}") is not None

    def _get(self, path: str) -> Mapping[str, Any] | None:
        if path not in self._read:
            self._read[path] = self._client.read(path)  # The record names what setup made by its path.
        return self._read[path]
