"""What adopt stores in Vault: the secrets, and the originals of edited files."""

import base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from lessee.config import Config
from lessee.core.errors import DeniedError, LesseeError, WriteError
from lessee.core.immutable import replace
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.policy.model import StoredField
from lessee.ops.adopt.record import Record
from lessee.ops.setup.secret_store import store_secrets
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import AdminClient

VAULT, FILES = "vault", "files"
"""Of which of them a value is right."""
_CHUNK = 256 * 1024
"""Bytes. Vault's storage takes entries up to 1 MiB by default, and base64 makes a third more of them."""
_TODO = (
    "`lessee adopt --prefer vault` uses that value, `--prefer files` stores the one of your files as a new version; or "
    "pass another --environment"
)


class Store:
    """The environment's folder in Vault. Every method raises DeniedError or VaultUnreachableError."""

    def __init__(self, client: AdminClient, config: Config, prefer: str | None = None) -> None:
        """`prefer`: which of two different values is right, that of `vault` or that of the `files`; None: an error."""
        self.client = client
        self.config = config
        self.prefer = prefer
        self._scope = path_scope_of(config)

    @property
    def data_path(self) -> str:
        """The path in Vault's API below which the secrets of the environment are."""
        return f"{self._scope.mount}/data/{self.config.secrets.prefix}"

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

    def current(self, fields: Iterable[StoredField]) -> tuple[StoredField, ...]:
        """The same fields with the values that Vault has."""
        fields = tuple(fields)
        found = {path: self.existing(path) for path in dict.fromkeys(field.path for field in fields)}
        return tuple(replace(field, value=str(found[field.path].get(field.field, field.value))) for field in fields)

    def conflicts(self, fields: Iterable[StoredField]) -> tuple[StoredField, ...]:
        """Those that have another value in Vault."""
        fields = tuple(fields)
        return tuple(field for field, now in zip(fields, self.current(fields), strict=True) if now != field)

    def missing(self, fields: Iterable[StoredField]) -> tuple[tuple[str, str], ...]:
        """Path and field of those that Vault does not have. Raises WriteError if it has another value for one."""
        fields = tuple(fields)
        if self.prefer is None and (conflicts := self.conflicts(fields)):
            field = conflicts[0]
            what = f"Vault has another value for {field.field}"
            where = f"{self._scope.mount}/{self._scope.secret(field.path).path}"
            raise WriteError(what, where=where, todo=f"nothing was changed; {_TODO}")
        found = {path: self.existing(path) for path in dict.fromkeys(field.path for field in fields)}
        return tuple((field.path, field.field) for field in fields if field.field not in found[field.path])

    def save(self, fields: Iterable[StoredField], report: Callable[[str], None]) -> None:
        """Store the secrets. Raises WriteError before the first write if Vault has another value for one."""
        fields = tuple(fields)
        kept = self.conflicts(fields) if self.prefer == VAULT else ()
        by_path: dict[str, dict[str, str]] = {}
        for field in fields:
            if field not in kept:
                by_path.setdefault(field.path, {})[field.field] = field.value
        if by_path:
            store_secrets(self.client, self.config, by_path, report, todo=_TODO, replaces=self.prefer == FILES)

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

    # The files that git may ignore, for other clones

    def clones_files(self, record: Record) -> Mapping[str, str]:
        """The edited files of the project's first adoption, with references in the place of secrets, by path."""
        return {name: text for name, text in self._read(self._clones(record)).items() if isinstance(text, str)}

    def save_clones_files(self, record: Record, files: Mapping[str, str]) -> None:
        """Store them, unless Vault has the same."""
        if files and self.clones_files(record) != files:
            self.client.write(self._clones(record), {"data": files})

    def forget_clones_files(self, record: Record) -> None:
        """Remove them with all their versions."""
        self.client.delete(f"{self._scope.mount}/metadata/{self._scope.secret(record.clones_path).path}")

    def _clones(self, record: Record) -> str:
        return f"{self._scope.mount}/data/{self._scope.secret(record.clones_path).path}"

    def _backup(self, record: Record, name: str) -> str:
        return f"{self._scope.mount}/data/{self._scope.secret(f'{record.backup_path}/{name}').path}"

    def _read(self, path: str) -> Mapping[str, object]:
        """The fields of a secret; none without one. Raises VaultRequestError for an answer that is not Vault's."""
        found = (self.client.read(path) or {}).get("data") or {}
        if not isinstance(found, Mapping):
            what = "the answer is not that of a KV engine of version 2"
            raise DeniedError(what, where=path, todo="see what is mounted there, and what answers at $VAULT_ADDR")
        return found
