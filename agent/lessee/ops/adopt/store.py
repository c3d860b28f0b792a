"""What adopt stores in Vault: the secrets, and the originals of edited files."""

import base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from lessee.config import Config
from lessee.core.errors import DeniedError, LesseeError, WriteError
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.policy.model import StoredField
from lessee.ops.adopt.record import Record
from lessee.ops.setup.secret_store import store_secrets
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import AdminClient

_CHUNK = 256 * 1024
"""Bytes. Vault's storage takes entries up to 1 MiB by default, and base64 makes a third more of them."""
_TODO = "make the two values equal, or pass another --environment"


class Store:
    """The environment's folder in Vault. Every method raises DeniedError or VaultUnreachableError."""

    def __init__(self, client: AdminClient, config: Config) -> None:
        self.client = client
        self.config = config
        self._scope = path_scope_of(config)

    def existing(self, path: str) -> Mapping[str, object]:
        """The fields of a secret, as templates name it."""
        return self._read(f"{self._scope.mount}/data/{self._scope.secret(path).path}")

    def version(self, path: str) -> int:
        """The version of a secret; 0 without one."""
        found = self.client.read(f"{self._scope.mount}/data/{self._scope.secret(path).path}") or {}
        metadata = found.get("metadata")
        version = metadata.get("version") if isinstance(metadata, Mapping) else None
        return version if isinstance(version, int) else 0

    def has_version(self, path: str, version: int) -> bool:
        """Whether Vault still has this version of a secret."""
        where = f"{self._scope.mount}/data/{self._scope.secret(path).path}"
        return bool((self.client.read(where, {"version": str(version)}) or {}).get("data"))

    def missing(self, fields: Iterable[StoredField]) -> tuple[tuple[str, str], ...]:
        """Path and field of those that Vault does not have. Raises WriteError if it has another value for one."""
        found: dict[str, Mapping[str, object]] = {}
        missing = []
        for field in fields:
            if field.path not in found:
                found[field.path] = self.existing(field.path)
            existing = found[field.path]
            if field.field not in existing:
                missing.append((field.path, field.field))
            elif existing[field.field] != field.value:
                what = f"Vault has another value for {field.field}"
                where = f"{self._scope.mount}/{self._scope.secret(field.path).path}"
                raise WriteError(what, where=where, todo=f"nothing was changed; {_TODO}")
        return tuple(missing)

    def save(self, fields: Iterable[StoredField], report: Callable[[str], None]) -> None:
        """Store the secrets. Raises WriteError before the first write if Vault has another value for one."""
        by_path: dict[str, dict[str, str]] = {}
        for field in fields:
            by_path.setdefault(field.path, {})[field.field] = field.value
        if by_path:
            store_secrets(self.client, self.config, by_path, report, todo=_TODO)

    # The originals

    def back_up(self, record: Record, content: bytes) -> None:
        """Store the bytes of a file, and verify them. A second call with the same bytes changes nothing."""
        name = digest(content)
        chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)] or [b""]
        for number, chunk in enumerate(chunks):
            fields = {"content": base64.b64encode(chunk).decode(), "chunks": str(len(chunks))}
            path = self._backup(record, f"{name}-{number}")
            if self._read(path) != fields:
                self.client.write(path, {"data": fields})
        if self.original(record, name) != content:
            raise WriteError("Vault returned another file than was written", where=self._backup(record, name))

    def original(self, record: Record, name: str) -> bytes:
        """The bytes of a file by their SHA-256. Raises LesseeError if Vault does not have them."""
        content, number, chunks = b"", 0, 1
        while number < chunks:
            fields = self._read(self._backup(record, f"{name}-{number}"))
            with suppress(ValueError):  # Another program wrote it: the digest differs.
                chunks = int(str(fields.get("chunks", "")))
                content += base64.b64decode(str(fields.get("content", "")))
                number += 1
                continue
            break
        if digest(content) != name:
            what, where = "Vault does not have the original of a file", self._backup(record, name)
            raise LesseeError(
                what, where=where, todo="restore this path from a backup of Vault, such as an older version"
            )
        return content

    def forget_originals(self, record: Record) -> None:
        """Remove the originals with all their versions."""
        folder = f"{self._scope.mount}/metadata/{self._scope.secret(record.backup_path).path}"
        for name in self.client.list(folder):
            self.client.delete(f"{folder}/{name}")

    def _backup(self, record: Record, name: str) -> str:
        return f"{self._scope.mount}/data/{self._scope.secret(f'{record.backup_path}/{name}').path}"

    def _read(self, path: str) -> Mapping[str, object]:
        """The fields of a secret; none without one. Raises VaultRequestError for an answer that is not Vault's."""
        found = (self.client.read(path) or {}).get("data") or {}
        if not isinstance(found, Mapping):
            what = "the answer is not that of a KV engine of version 2"
            raise DeniedError(what, where=path, todo="see what is mounted there, and what answers at $VAULT_ADDR")
        return found
