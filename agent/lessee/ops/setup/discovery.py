"""Reads what a server holds of what setup wants, by GET and LIST alone."""

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from lessee.config import Config
from lessee.core.errors import VaultUnreachableError
from lessee.core.failures import Kind as Failed
from lessee.ops.setup.policy.desired_state import KV, InitialSecret, Desired, record_path
from lessee.ops.setup.policy.objects import Fields, Kind, Object, fields_of
from lessee.ops.setup.policy.server_state import SetupRecord, SecretState, ServerState, from_data
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.responses import meaning
from lessee.vault.transport import RequestFailedError

_UNINITIALISED, _SEALED = 501, 503
_TODO = {
    meaning(_UNINITIALISED): "`lessee setup --init DIR` initialises a new server",
    meaning(_SEALED): "unseal it first: `bao operator unseal`",
}


def require_ready(client: AdminClient) -> None:
    """Raises VaultUnreachableError where the server is not initialised, sealed or away."""
    try:
        client.transport.ask("GET", "sys/health", token=None, params={"standbyok": "true", "perfstandbyok": "true"})
    except RequestFailedError as exc:
        if exc.failure.kind in {Failed.INVALID, Failed.UNSUPPORTED}:
            return  # It is asked of the whole server, and not in a namespace.
        todo = _TODO.get(exc.failure.text)
        if todo is None:
            raise request_error(exc.failure, client.transport.address) from None
        raise VaultUnreachableError(exc.failure.text, where=client.transport.address, todo=todo) from None


class Discovery:
    """One look at a server; what was read once is not read again. Raises DeniedError or VaultUnreachableError."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self._read: dict[str, Mapping[str, Any] | None] = {}

    def state(self, configs: Mapping[str, Config], wanted: Iterable[Desired]) -> ServerState:
        """What is there of what is wanted in these environments, and of what was written before."""
        [config, *_] = configs.values()
        recorded: dict[str, SetupRecord] = {}
        for environment, its in {"": config, **configs}.items():
            if (entries := self.recorded(its, environment)) is not None:
                recorded[environment] = entries
        objects: dict[str, Fields] = {}
        secrets: dict[str, SecretState] = {}
        looked: set[str] = set()
        for one in wanted:
            looked.add(one.path)
            if isinstance(one, InitialSecret):
                secret_state = self.secret_state(one.mount, one.path)
                if secret_state is not None:
                    secrets[one.name] = secret_state
            elif (found := self._object(one)) is not None:
                objects[one.path] = found
        for entries in recorded.values():
            for path, entry in entries.items():
                if path not in looked and (made := self._made(entry.kind, path)) is not None:
                    objects[path] = fields_of(entry.kind, made, entry.keys)
        return ServerState(objects, secrets, recorded)

    def recorded(self, config: Config, environment: str) -> SetupRecord | None:
        """What setup wrote last in this environment, None where it never did; empty: in all."""
        mount = config.secrets.mount
        data = self._get(f"{mount}/data/{record_path(config, environment)}") if self._is_kv(mount) else None
        return None if data is None else from_data(data.get("data") or {}, environment)

    def secret_state(self, mount: str, path: str) -> SecretState | None:
        """A secret's newest version, and the names of its keys; None where there never was one."""
        data = self._get(f"{mount}/metadata/{path}") if self._is_kv(mount) else None
        version = int((data or {}).get("current_version") or 0)
        if data is None or version == 0:
            return None
        # Of the keys their names alone: no value is read to see whether it is there.
        found = self._get(f"{mount}/subkeys/{path}")
        return SecretState(version, frozenset((found or {}).get("subkeys") or {}), deleted=found is None)

    def _object(self, wanted: Object) -> Fields | None:
        if wanted.kind is Kind.AUDIT:
            # Whatever it is called, a device that writes this file is what is wanted.
            devices = (self._get("sys/audit") or {}).values()
            describe = [fields_of(wanted.kind, device, wanted.fields) for device in devices]
            if wanted.fields in describe:
                return wanted.fields
        if wanted.kind is Kind.CA and self._is_mounted(wanted.name):
            return wanted.fields if self._client.list(f"{wanted.name}/issuers") else None
        found = self._made(wanted.kind, wanted.path)
        return None if found is None else fields_of(wanted.kind, found, wanted.fields)

    def _made(self, kind: Kind, path: str) -> Mapping[str, Any] | None:
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
                # The mount, what it keeps, and the name.
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
            self._read[path] = self._client.read(path)
        return self._read[path]
