"""Writes to a server what an archive has and the server lacks."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from lessee.core.errors import DeniedError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.ops.backup import server
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.policy.object_restore import Change, Conflict, Data, Unrestorable, change
from lessee.ops.backup.policy.objects import contacts_other_systems, has_known_path
from lessee.ops.backup.policy.records import Secret, ServerObject
from lessee.ops.backup.policy.secret_restore import (
    DEFAULT_MAX_VERSIONS,
    DeleteVersions,
    DestroyVersions,
    Plan,
    SecretStatus,
    Step,
    WriteSettings,
    WriteVersion,
    plan,
)
from lessee.ops.backup.secret_reader import each, secret
from lessee.vault.admin import AdminClient

_PATIENCE = 30.0
_PAUSE = 0.05
_VERSIONED = 2


class Source(Protocol):
    """What is written: an archive, or another server."""

    @property
    def key(self) -> bytes:
        """The key of the fingerprints."""

    def objects(self) -> Iterator[ServerObject]:
        """The server objects, in the order of creation."""

    def secrets(self) -> Iterator[Secret]:
        """The secrets, after the objects."""


class Writer:
    """Compares an archive with a server, once; with `apply` it also writes what differs.

    `only`: restore only secrets with this path prefix, and their mount if it is missing.
    """

    def __init__(
        self,
        client: AdminClient,
        archive: Source,
        *,
        apply: bool,
        only: str = "",
        trial: bool = False,
        may_overwrite_newer: bool = True,
        unsupported: Iterable[str] = (),
        may_change: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`may_change`: whether what is there and differs is changed, by the kind of object, or `secret`.

        `trial`: write nothing that makes the server contact another system, or that needs a missing engine.

        `unsupported`: mounts whose engine is known to be missing. Without `may_overwrite_newer`, a secret that is newer
        on the server is an error.
        """
        self._client = client
        self._archive = archive
        self._apply = apply
        self._only = only.removeprefix("/")
        self._trial = trial
        self._may_overwrite_newer = may_overwrite_newer
        self._may_change = may_change
        self._mounts = server.mounts(client, "mount")
        self._methods = server.mounts(client, "auth")
        self._types: dict[str, str] = {}
        self.kv: dict[str, int] = {}
        self._max_versions: dict[str, int] = {}
        self._absent: set[str] = set()
        self.unsupported = list(unsupported)
        self.statuses: Counter[SecretStatus] = Counter()
        self.writes = 0

    def objects(self) -> Iterator[Change | Unrestorable | Conflict]:
        """The objects that differ; with `apply` they are written. Raises DeniedError or ArchiveError."""
        for server_object in self._archive.objects():
            self._record_mount(server_object)
            if not has_known_path(server_object, self._types):
                raise ArchiveError(f"{server_object.path} is not a path of a {server_object.kind}")
            if self._is_excluded(server_object):
                continue
            found = change(server_object, self._present(server_object))
            if found is None or (self._only and isinstance(found, Change) and not found.new):
                continue
            if isinstance(found, Change):
                self._write_change(found)
            yield found

    def secrets(self) -> Iterator[tuple[Secret, Plan]]:
        """Each secret and its plan, which with `apply` was executed. Raises DeniedError or ArchiveError."""
        chosen = (saved for saved in self._archive.secrets() if saved.where.startswith(self._only))
        for saved, secret_plan in each(self._restore, chosen):
            self.statuses[secret_plan.status] += 1
            self.writes += len(secret_plan.steps)
            yield saved, secret_plan

    def _record_mount(self, server_object: ServerObject) -> None:
        if server_object.kind in {"mount", "auth"}:
            place = server_object.path if server_object.kind == "mount" else f"auth/{server_object.path}"
            self._types[place] = server_object.data.get("type", "")
            if server_object.path not in (self._mounts if server_object.kind == "mount" else self._methods):
                self._absent.add(place)
            if server_object.data.get("type") in {"kv", "generic"}:
                self.kv[server_object.path] = 2 if server.is_versioned(server_object.data) else 1
        if server_object.kind == "config" and (mount := server_object.path.removesuffix("config")) in self.kv:
            # With `only`, the settings of mounts are not restored: those of the server apply.
            data = self._present(server_object) or {} if self._only else server_object.data
            self._max_versions[mount] = data.get("max_versions") or DEFAULT_MAX_VERSIONS

    def _is_excluded(self, server_object: ServerObject) -> bool:
        if self._only:
            above, below = self._only.startswith(server_object.path), server_object.path.startswith(self._only)
            return server_object.kind != "mount" or server_object.path not in self.kv or not (above or below)
        place = f"auth/{server_object.path}" if server_object.kind == "auth" else server_object.path
        return self._trial and (contacts_other_systems(server_object) or place.startswith(tuple(self.unsupported)))

    def _present(self, server_object: ServerObject) -> Data | None:
        if server_object.kind == "mount":
            return self._mounts.get(server_object.path)
        if server_object.kind == "auth":
            return self._methods.get(server_object.path)
        if any(server_object.path.startswith(place) for place in self._absent):
            return None
        return self._client.read(server_object.path)

    def _write_change(self, found: Change) -> None:
        if not (found.new or self._may_change(found.server_object.kind)):
            return
        self.writes += 1
        if not self._apply:
            return
        server_object = found.server_object
        place = f"auth/{server_object.path}" if server_object.kind == "auth" else server_object.path
        try:
            self._client.write(found.path, found.body)
        except DeniedError:
            if not self._trial or server_object.kind not in {"mount", "auth"}:
                raise
            self.unsupported.append(place)  # This server lacks the engine.
            return
        if server_object.kind in {"mount", "auth"}:
            self._absent.discard(place)
            if self.kv.get(place) == _VERSIONED:
                _wait_for(self._client, place)

    def _restore(self, saved: Secret) -> tuple[Secret, Plan]:
        if self.kv.get(saved.mount) != saved.engine:
            raise ArchiveError("the archive has a secret outside its mounts", where=saved.where)
        present = None
        if saved.mount not in self._absent:
            present = secret(self._client, saved.mount, saved.path, saved.engine, self._archive.key)
        secret_plan = plan(saved, present, most=self._max_versions.get(saved.mount, DEFAULT_MAX_VERSIONS))
        if self._apply and (secret_plan.status is not SecretStatus.CHANGED or self._may_change("secret")):
            if secret_plan.overwrites_newer and not self._may_overwrite_newer:
                what = "another client changed the secret since the plan"
                raise DeniedError(what, where=saved.where, todo="run it again, and check the new plan")
            _apply(self._client, saved, secret_plan.steps)
        return saved, secret_plan


def _apply(client: AdminClient, saved: Secret, steps: Iterable[Step]) -> None:
    mount, path = saved.mount, saved.path
    for step in steps:
        match step:
            case WriteSettings(settings=settings):
                client.write(
                    f"{mount}metadata/{path}", {**settings, "custom_metadata": settings.get("custom_metadata") or {}}
                )
            case WriteVersion(data=data) if saved.engine == 1:
                client.write(saved.where, data)
            case WriteVersion(data=data, cas=cas):
                _put(client, f"{mount}data/{path}", {"data": data, "options": {"cas": cas}})
            case DeleteVersions(versions=versions):
                client.write(f"{mount}delete/{path}", {"versions": versions})
            case DestroyVersions(versions=versions):
                client.write(f"{mount}destroy/{path}", {"versions": versions}, method="PUT")


def _put(client: AdminClient, path: str, body: dict[str, object]) -> None:
    try:
        client.request("POST", path, body=body)
    except VaultRequestError as exc:
        if exc.kind is not Kind.INVALID:
            raise
        raise DeniedError(
            "another client changed the secret, or it is too large", where=path, todo="run it again"
        ) from None


def _wait_for(client: AdminClient, mount: str) -> None:
    """A new KV version 2 mount refuses requests until Vault has initialized it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            client.request("GET", f"{mount}config")
        except VaultRequestError:
            if time.monotonic() > deadline:
                raise VaultUnreachableError("the new mount did not become ready", where=mount) from None
            time.sleep(_PAUSE)
        else:
            return
