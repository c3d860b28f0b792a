"""The KV v2 documents of a rotation, each written with check-and-set, and what consumers report in custom metadata."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.core.consumers import CONSUMER_FOLDER, Consumer
from lessee.core.errors import DeniedError, VaultRequestError
from lessee.core.failures import Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Fields, Journal
from lessee.vault.admin import AdminClient

_VERSIONED = 2


class Document(ImmutableStruct, frozen=True):
    """A secret's newest version, or 0 where there never was one. `fields` is empty where it is deleted."""

    hidden = ("fields",)

    version: int
    fields: Fields


class ConcurrentWriteError(Exception):
    """Another process has written the document since it was read."""


class DocumentStore:
    """The documents of one mount of KV v2. All methods raise DeniedError and VaultUnreachableError."""

    def __init__(self, client: AdminClient, mount: str) -> None:
        self.client = client
        self._mount = mount

    def check(self) -> None:
        """Raises DeniedError where the mount is not KV version 2."""
        version = self.client.kv_version(self._mount)
        if version != _VERSIONED:
            todo = f"upgrade it: bao kv enable-versioning {self._mount}; or set `secrets.mount` to another mount"
            what = f"KV version {version}; rotation needs KV version 2 and its check-and-set"
            raise DeniedError(what, where=self._mount, todo=todo)

    def read(self, path: str) -> Document:
        """The newest version."""
        match self.client.read_secret(Ref(self._mount, path), _VERSIONED):
            case Secret(data=data, metadata=metadata):
                return Document(metadata.version if metadata else 0, data)
            case VersionMetadata(version=version):
                return Document(version, {})
            case None:
                return Document(0, {})

    def write(self, path: str, fields: Fields, over: int) -> int:
        """Write over the version `over`, and return the new version.

        Raises ConcurrentWriteError where there is another version. After VaultUnreachableError it is not known whether
        the document was written: read it, and compare.
        """
        where = f"{self._mount}/data/{path}"
        body = {"data": fields, "options": {"cas": over}}
        try:
            answer = self.client.request("POST", where, body=body)
        except VaultRequestError as exc:
            if exc.kind is Kind.INVALID and self.read(path).version != over:
                raise ConcurrentWriteError from None
            raise exc.replace(where=f"{self._mount}/{path}") from None
        return int(answer.data["version"])

    def keep_newest_only(self, path: str) -> None:
        """Let Vault delete older versions of a document, which may hold values."""
        body = {"max_versions": 1, "cas_required": True}
        self.client.write(f"{self._mount}/metadata/{path}", body)

    def require_check_and_set(self, path: str) -> None:
        """Have Vault refuse writes that do not name the version before, as `lessee setup` does for existing secrets."""
        self.client.write(f"{self._mount}/metadata/{path}", {"cas_required": True})

    def set_custom_metadata(self, path: str, metadata: Mapping[str, str]) -> None:
        """Set these keys of a document's custom metadata, and leave the others unchanged."""
        where = f"{self._mount}/metadata/{path}"
        found: Mapping[str, Any] = self.client.read(where) or {}
        before = found.get("custom_metadata") or {}
        if any(before.get(key) != value for key, value in metadata.items()):
            self.client.write(where, {"custom_metadata": {**before, **metadata}})


class ConsumerStore:
    """The consumers of an environment, with the versions that they have confirmed.

    All methods raise DeniedError and VaultUnreachableError.
    """

    def __init__(self, client: AdminClient, mount: str, prefix: str) -> None:
        self._client = client
        self._folder = f"{mount}/metadata/{prefix}{CONSUMER_FOLDER}"

    def read(self) -> tuple[Consumer, ...]:
        """All consumers."""
        return tuple(self._read())

    def remove(self, name: str) -> None:
        """Remove a consumer. One that still runs reports again with its next generation."""
        if "/" in name:  # Otherwise it is an app of which no agent has reported.
            self._client.delete(f"{self._folder}{name}")

    def _read(self) -> Iterator[Consumer]:
        for app in self._client.list(self._folder):
            if not app.endswith("/"):
                continue
            for instance in self._client.list(f"{self._folder}{app}"):
                found = (self._client.read(f"{self._folder}{app}{instance}") or {}).get("custom_metadata") or {}
                versions = {path: int(version) for path, version in found.items() if str(version).isdecimal()}
                yield Consumer(app.removesuffix("/"), instance, versions)


def journal_in(document: Document, where: str) -> Journal:
    """The journal in a document. Raises DeniedError where it is not a journal."""
    try:
        return journal.parse(document.fields)
    except journal.NewerFormatError as exc:
        raise DeniedError(str(exc), where=where, todo="rotate it with that version") from None
    except ValueError as exc:
        todo = "inspect it with bao kv get; if it is not needed, delete it: bao kv metadata delete"
        raise DeniedError(str(exc), where=where, todo=todo) from None
