"""Gives a private server what no archive has: an authority for certificates, and values in place of other engines."""

import secrets
from collections.abc import Iterable, Mapping

from lessee.core.errors import VaultRequestError
from lessee.core.paths import DynamicSecret
from lessee.vault.admin import AdminClient

_TTL = 86400
"""Seconds. A drill takes minutes."""
_NAMES = ("username", "password", "access_key", "secret_key", "security_token", "token", "key", "private_key")
"""The fields of the answers of Vault's engines."""


class Substitutes:
    """What is in place of engines, as notes, and what the drill cannot provide, with the reason."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self._mounts = {path: str(mount["type"]) for path, mount in (client.read("sys/mounts") or {}).items()}
        self._provided: set[str] = set()
        self.notes: dict[str, None] = {}
        self.missing: dict[DynamicSecret, str] = {}

    def provide(self, needs: Iterable[DynamicSecret]) -> None:
        """Have the server answer these requests. Each is independent of the others."""
        for need in sorted(needs, key=str):
            try:
                if need.certificate:
                    self._authority(need)
                elif need.method == "GET":
                    self._value(need)
                else:
                    self.missing[need] = f"a private server cannot answer {need}"
            except VaultRequestError as exc:
                self.missing[need] = str(exc)

    def _authority(self, need: DynamicSecret) -> None:
        mount, _, role = need.path.rpartition("/issue/")
        if f"{mount}/" not in self._mounts:
            self._client.write(f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
            self._mounts[f"{mount}/"] = "pki"
        if mount not in self._provided:
            self._client.write(f"{mount}/root/generate/internal", {"common_name": "drill", "ttl": "87600h"})
            self._provided.add(mount)
            self.notes[f"{mount}: a certificate authority of the drill, since an archive has no keys of pki"] = None
        if self._client.read(f"{mount}/roles/{role}") is None:
            self._client.write(f"{mount}/roles/{role}", {"allow_any_name": True, "key_type": "any", "max_ttl": "72h"})

    def _value(self, need: DynamicSecret) -> None:
        mount = self._mount_of(need.path)
        if mount not in self._provided:
            kind = self._mounts.get(f"{mount}/", "no engine")
            self._client.delete(f"sys/mounts/{mount}")
            self._client.write(f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
            self._provided.add(mount)
            why = "since an archive has no passwords and keys of engines"
            self.notes[f"{mount}: fixed values in place of the engine ({kind}), {why}"] = None
        values: Mapping[str, object] = {name: secrets.token_urlsafe(18) for name in _NAMES}
        self._client.write(need.path, {**values, "ttl": _TTL})

    def _mount_of(self, path: str) -> str:
        known = [mount for mount in self._mounts if path.startswith(mount)]
        return max(known, key=len).removesuffix("/") if known else path.rsplit("/", 2)[0]
