"""Copies secrets from one folder of KV to another, and reads every copy back."""

import secrets
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from lessee.core.errors import ConfigError, DeniedError, LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import wall_time
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
    most_of,
    plan,
    settings_for,
)
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.responses import RequestFailedError


class Mount(ImmutableStruct, frozen=True):
    """A KV mount; `path` has no slash at its end. `most`: versions that it keeps, or 0."""

    path: str
    is_versioned: bool
    most: int


class Outcome(Enum):
    """What became of one secret, or with a plan would."""

    COPIED = "+"
    EQUAL = "="
    REFUSED = "!"
    LEFT_OUT = "-"


class SecretResult(ImmutableStruct, frozen=True):
    """One secret, or one folder that is left out. `versions` that are copied, of which `lost` cannot be read."""

    path: str
    outcome: Outcome
    versions: int = 0
    lost: int = 0
    why: str = ""


def mount_at(server: AdminClient, path: str) -> Mount:
    """The KV mount in which a path lies. Raises DeniedError, VaultUnreachableError or ConfigError."""
    try:
        found = server.read(f"sys/internal/ui/mounts/{path}")
    except DeniedError as exc:
        raise DeniedError("there is no such mount, or the token may not see it", where=path, todo=exc.todo) from None
    if found is None or found.get("type") not in {"kv", "generic"}:
        raise ConfigError([LesseeError("it lies in no KV mount", where=path, todo="name one that does")])
    mount = str(found["path"]).removesuffix("/")
    is_versioned = str((found.get("options") or {}).get("version")) == "2"
    most = (server.read(f"{mount}/config") or {}).get("max_versions") if is_versioned else None
    return Mount(mount, is_versioned, int(most or 0))


class Migration:
    """From one mount's folder to another's. The source is only read; nothing that is there is overwritten."""

    def __init__(self, server: AdminClient, move: Move, source: Mount, target: Mount) -> None:
        self._server = server
        self._move = move
        self._source = source
        self._target = target
        self._key = secrets.token_bytes()
        self._ahead = 0.0
        """Seconds by which the server's clock may be ahead of ours."""

    def run(self, *, act: bool) -> Iterator[SecretResult]:
        """Secret by secret. Raises DeniedError or VaultUnreachableError: what is done by then stays; the next run goes on."""
        self._ahead = self._ask_ahead()
        for path, why in self._walk(""):
            yield SecretResult(path, Outcome.LEFT_OUT, why=why) if why else self._move_one(path, act=act)

    def _walk(self, folder: str) -> Iterator[tuple[str, str | None]]:
        view = "metadata/" if self._source.is_versioned else ""
        for name in self._server.list(f"{self._source.path}/{view}{self._move.source.path}{folder}"):
            path = f"{folder}{name}"
            why = self._move.skip_reason(path)
            if why or not name.endswith("/"):
                yield path, why
            else:
                yield from self._walk(path)

    def _move_one(self, path: str, *, act: bool) -> SecretResult:
        source = self._read(self._source, f"{self._move.source.path}{path}")
        if source is None:
            return SecretResult(path, Outcome.EQUAL)  # It was taken away since it was listed.
        if not all(kv_versions.is_exact(version.data) for version in source.versions.values()):
            why = "a whole number there has more digits than KV version 2 keeps; write it as a string first"
            return SecretResult(path, Outcome.REFUSED, why=why)
        settings = settings_for(source.settings, source_most=self._source.most, target_most=self._target.most)
        source = replace(source, settings=settings)
        steps = self._plan(source, path)
        if isinstance(steps, Mismatch):
            return SecretResult(path, Outcome.REFUSED, why=f"something else is there: {steps.why}")
        if not steps:
            return SecretResult(path, Outcome.EQUAL)
        if act:
            for step in steps:
                self._obey(f"{self._move.target.path}{path}", step)
            if self._plan(source, path):
                return SecretResult(
                    path, Outcome.REFUSED, why="read back, the copy is not equal: did somebody write it meanwhile?"
                )
        written = [step.number for step in steps if isinstance(step, WriteVersion)]
        lost = sum(number not in source.versions or source.versions[number].data is None for number in written)
        return SecretResult(path, Outcome.COPIED, versions=len(written), lost=lost)

    def _plan(self, source: KvSecret, path: str) -> tuple[Step, ...] | Mismatch:
        target = self._read(self._target, f"{self._move.target.path}{path}")
        return plan(source, target, most=most_of(source.settings, self._target.most), now=self._now())

    def _read(self, mount: Mount, path: str) -> KvSecret | None:
        if not mount.is_versioned:
            data = self._server.read(f"{mount.path}/{path}")
            return None if data is None else KvSecret(1, {1: self._with(Version(), data)})
        metadata = self._server.read(f"{mount.path}/metadata/{path}")
        if metadata is None:
            return None
        versions = {
            int(number): self._version(mount, path, number, said)
            for number, said in (metadata.get("versions") or {}).items()
        }
        return KvSecret(int(metadata.get("current_version") or 0), versions, kv_versions.settings_of(metadata))

    def _version(self, mount: Mount, path: str, number: str, said: Mapping[str, Any]) -> Version:
        version = kv_versions.version_of(said)
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
                self._server.write(f"{mount}/metadata/{path}", kv_versions.metadata_from(settings))
            case WriteVersion(number, data):
                # With the version that must be there, nobody else's is ever overwritten.
                self._server.write(f"{mount}/data/{path}", {"options": {"cas": number - 1}, "data": data})
            case DeleteVersion(number):
                self._server.write(f"{mount}/delete/{path}", {"versions": [number]})
            case DestroyVersion(number):
                self._server.write(f"{mount}/destroy/{path}", {"versions": [number]}, method="PUT")

    def _now(self) -> float:
        return wall_time() + self._ahead

    def _ask_ahead(self) -> float:
        before = wall_time()
        try:
            date = self._server.transport.ask("GET", "sys/seal-status", token=None).date
        except RequestFailedError as exc:
            raise request_error(exc.failure, "sys/seal-status") from None
        # It counts whole seconds: what was deleted in this one must not look as if it had yet to be.
        return 0.0 if date is None else date + 1 - before
