"""Copies secrets from one KV folder to another, and verifies every copy."""

import secrets
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from lessee.core.errors import ConfigError, DeniedError, LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import wall_time
from lessee.host.progress import SILENT, Progress
from lessee.ops.setup.policy import kv_versions
from lessee.ops.setup.policy.migration import (
    DeleteVersion,
    DestroyVersion,
    KvSecret,
    Mismatch,
    Move,
    Step,
    Version,
    WriteSettings,
    WriteVersion,
    kept_versions,
    plan,
    settings_for,
)
from lessee.vault.admin import AdminClient


class Mount(ImmutableStruct, frozen=True):
    """A KV mount; `path` has no slash at its end. `most`: versions that it keeps, or 0."""

    path: str
    is_versioned: bool
    max_versions: int


class Outcome(Enum):
    """What happened to a secret; with a plan, what would happen."""

    COPIED = "+"
    EQUAL = "="
    REFUSED = "!"
    SKIPPED = "-"


class SecretResult(ImmutableStruct, frozen=True):
    """The outcome for a secret, or for a skipped folder. `lost`: how many copied versions are not readable."""

    path: str
    outcome: Outcome
    versions: int = 0
    lost: int = 0
    why: str = ""


def mount_at(server: AdminClient, path: str) -> Mount:
    """The KV mount that contains a path. Raises DeniedError, VaultUnreachableError or ConfigError."""
    try:
        found = server.read(f"sys/internal/ui/mounts/{path}")
    except DeniedError as exc:
        raise DeniedError("no such mount, or the token may not see it", where=path, todo=exc.todo) from None
    if found is None or found.get("type") not in {"kv", "generic"}:
        raise ConfigError([LesseeError("the path is not in a KV mount", where=path, todo="name a path in one")])
    mount = str(found["path"]).removesuffix("/")
    is_versioned = str((found.get("options") or {}).get("version")) == "2"
    max_versions = (server.read(f"{mount}/config") or {}).get("max_versions") if is_versioned else None
    return Mount(mount, is_versioned, int(max_versions or 0))


class Migration:
    """Copies a folder of one mount to a folder of another. It only reads the source, and overwrites nothing."""

    def __init__(self, server: AdminClient, move: Move, source: Mount, target: Mount) -> None:
        self._server = server
        self._move = move
        self._source = source
        self._target = target
        self._key = secrets.token_bytes()
        self._ahead = 0.0
        """Seconds by which the server's clock may be ahead of this host's."""

    def run(self, progress: Progress = SILENT, *, apply_changes: bool) -> Iterator[SecretResult]:
        """Copy secret by secret. Raises DeniedError or VaultUnreachableError; the next run continues."""
        self._ahead = self._ask_ahead()
        # All of them are listed first, so that the progress has a total.
        found = list(progress.track(self._walk(""), "listing secrets"))
        what = "copying secrets" if apply_changes else "comparing secrets"
        for path, why in progress.track(found, what, len(found)):
            yield (
                SecretResult(path, Outcome.SKIPPED, why=why)
                if why
                else self._move_one(path, apply_changes=apply_changes)
            )

    def _walk(self, folder: str) -> Iterator[tuple[str, str | None]]:
        view = "metadata/" if self._source.is_versioned else ""
        for name in self._server.list(f"{self._source.path}/{view}{self._move.source.path}{folder}"):
            path = f"{folder}{name}"
            why = self._move.skip_reason(path)
            if why or not name.endswith("/"):
                yield path, why
            else:
                yield from self._walk(path)

    def _move_one(self, path: str, *, apply_changes: bool) -> SecretResult:
        source = self._read(self._source, f"{self._move.source.path}{path}")
        if source is None:
            return SecretResult(path, Outcome.EQUAL)  # Another client removed it since it was listed.
        if not all(kv_versions.is_lossless(version.data) for version in source.versions.values()):
            why = "it has an integer with more digits than KV version 2 stores; write it as a string first"
            return SecretResult(path, Outcome.REFUSED, why=why)
        settings = settings_for(
            source.settings,
            source_max_versions=self._source.max_versions,
            target_max_versions=self._target.max_versions,
        )
        source = replace(source, settings=settings)
        steps = self._plan(source, path)
        if isinstance(steps, Mismatch):
            return SecretResult(path, Outcome.REFUSED, why=f"a different secret exists there: {steps.why}")
        if not steps:
            return SecretResult(path, Outcome.EQUAL)
        if apply_changes:
            for step in steps:
                self._obey(f"{self._move.target.path}{path}", step)
            if self._plan(source, path):
                return SecretResult(
                    path, Outcome.REFUSED, why="the copy differs when read back: another client may have written it"
                )
        written = [step.number for step in steps if isinstance(step, WriteVersion)]
        lost = sum(number not in source.versions or source.versions[number].data is None for number in written)
        return SecretResult(path, Outcome.COPIED, versions=len(written), lost=lost)

    def _plan(self, source: KvSecret, path: str) -> tuple[Step, ...] | Mismatch:
        target = self._read(self._target, f"{self._move.target.path}{path}")
        return plan(
            source, target, max_versions=kept_versions(source.settings, self._target.max_versions), now=self._now()
        )

    def _read(self, mount: Mount, path: str) -> KvSecret | None:
        if not mount.is_versioned:
            data = self._server.read(f"{mount.path}/{path}")
            return None if data is None else KvSecret(1, {1: self._with(Version(), data)})
        metadata = self._server.read(f"{mount.path}/metadata/{path}")
        if metadata is None:
            return None
        versions = {
            int(number): self._version(mount, path, number, entry)
            for number, entry in (metadata.get("versions") or {}).items()
        }
        return KvSecret(int(metadata.get("current_version") or 0), versions, kv_versions.settings_of(metadata))

    def _version(self, mount: Mount, path: str, number: str, entry: Mapping[str, Any]) -> Version:
        version = kv_versions.version_of(entry)
        if not version.is_live(self._now()):
            return version
        answer = self._server.read(f"{mount.path}/data/{path}", {"version": number})
        return version if answer is None else self._with(version, answer.get("data") or {})

    def _with(self, version: Version, data: Mapping[str, Any]) -> Version:
        return replace(version, data=data, fingerprint=kv_versions.fingerprint(self._key, data))

    def _obey(self, path: str, step: Step) -> None:
        mount = self._target.path
        match step:
            case WriteSettings(settings):
                self._server.write(f"{mount}/metadata/{path}", kv_versions.metadata_body(settings))
            case WriteVersion(number, data):
                # Check-and-set: another client's version is never overwritten.
                self._server.write(f"{mount}/data/{path}", {"options": {"cas": number - 1}, "data": data})
            case DeleteVersion(number):
                self._server.write(f"{mount}/delete/{path}", {"versions": [number]})
            case DestroyVersion(number):
                self._server.write(f"{mount}/destroy/{path}", {"versions": [number]}, method="PUT")

    def _now(self) -> float:
        return wall_time() + self._ahead

    def _ask_ahead(self) -> float:
        before = wall_time()
        date = self._server.seal_status().date
        # The date has whole seconds. A version deleted in this second must not look like one that is still readable.
        return 0.0 if date is None else date + 1 - before
