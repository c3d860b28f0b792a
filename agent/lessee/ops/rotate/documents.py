"""The documents of a rotation in KV v2, each written only over what was read."""

from collections.abc import Mapping
from typing import Any

from lessee.core.errors import RefusedError
from lessee.core.failures import Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Ref
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Fields, Journal
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.engines import kv
from lessee.vault.transport import RequestFailedError

_VERSIONED = 2


class Document(ImmutableStruct, frozen=True):
    """A secret's newest version; 0 where there never was one. `fields` are empty where it is deleted."""

    hidden = ("fields",)

    version: int
    fields: Fields


def journal_in(document: Document, where: str) -> Journal:
    """What a journal's document says. Raises RefusedError where it is none."""
    try:
        return journal.read(document.fields)
    except ValueError as exc:
        todo = "see what it is; if nobody needs it: bao kv metadata delete"
        raise RefusedError(str(exc), where=where, todo=todo) from None


class OvertakenError(Exception):
    """Somebody else has written meanwhile."""


class Kept:
    """Documents of one mount of KV v2. Everything raises RefusedError and VaultUnreachableError."""

    def __init__(self, client: AdminClient, mount: str) -> None:
        self.client = client
        self._mount = mount

    def check(self) -> None:
        """Raises RefusedError where the mount keeps no versions."""
        try:
            version = kv.mount_version(self.client.transport, self.client.token, self._mount)
        except RequestFailedError as exc:
            raise request_error(exc.failure, self._mount) from None
        if version != _VERSIONED:
            todo = "make it version 2: `bao kv enable-versioning`, or mount another"
            raise RefusedError(
                "rotation needs KV version 2, where nothing is overwritten unseen", where=self._mount, todo=todo
            )

    def read(self, path: str) -> Document:
        """What stands there."""
        transport, token = self.client.transport, self.client.token
        try:
            found = kv.read(transport, token, Ref(self._mount, path), _VERSIONED)
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.MISSING:
                raise request_error(exc.failure, f"{self._mount}/{path}") from None
            marker = kv.deleted(exc)
            return Document(marker.version if marker else 0, {})
        return Document(found.marker.version if found.marker else 0, found.data)

    def write(self, path: str, fields: Fields, over: int) -> int:
        """Write over this version alone; the new version. Raises OvertakenError where another is there.

        After VaultUnreachableError nobody knows whether it was written: read, and compare.
        """
        where = f"{self._mount}/data/{path}"
        body = {"data": fields, "options": {"cas": over}}
        try:
            answer = self.client.transport.ask("POST", where, token=self.client.token, body=body)
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.INVALID and self.read(path).version != over:
                raise OvertakenError from None
            raise request_error(exc.failure, f"{self._mount}/{path}") from None
        return int(answer.data["version"])

    def keep_newest_only(self, path: str) -> None:
        """Of a document whose older versions nobody needs, and that may hold values."""
        body = {"max_versions": 1, "cas_required": True}
        self.client.write(f"{self._mount}/metadata/{path}", body)

    def tell(self, path: str, said: Mapping[str, str]) -> None:
        """Set these keys of its custom metadata, beside those that are there."""
        where = f"{self._mount}/metadata/{path}"
        there: Mapping[str, Any] = self.client.read(where) or {}
        before = there.get("custom_metadata") or {}
        if any(before.get(key) != value for key, value in said.items()):
            self.client.write(where, {"custom_metadata": {**before, **said}})
