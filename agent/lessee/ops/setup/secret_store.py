"""Stores moved secrets in Vault: never overwrites another value, and verifies what it wrote."""

from collections.abc import Callable, Mapping
from functools import partial

from lessee.config import Config
from lessee.core.errors import DeniedError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.migration import mount_at
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import AdminClient


def store_secrets(
    client: AdminClient,
    config: Config,
    fields_by_path: Mapping[str, Mapping[str, str]],
    report: Callable[[str], None],
    *,
    todo: str,
    replaces: bool = False,
    keeps: bool = False,
) -> None:
    """Store the fields of each path, which is as in templates. Raises WriteError before the first write if Vault has
    another value for any field; `todo` is what to do then. With `replaces` it gets a new version instead, and with
    `keeps` Vault's value stays.

    Raises DeniedError or VaultUnreachableError. Secrets that were written remain, and the next run skips them.
    """
    for secret in _read_all(client, config, fields_by_path, todo, replaces=replaces, keeps=keeps):
        if secret.is_missing:
            _write(client, secret)
        report(f"{'+' if secret.is_missing else '='} {secret.mount}/{secret.path}: {', '.join(sorted(secret.fields))}")


def are_stored(
    client: AdminClient,
    config: Config,
    fields_by_path: Mapping[str, Mapping[str, str]],
    *,
    todo: str,
    replaces: bool = False,
    keeps: bool = False,
) -> bool:
    """Whether Vault has all of it already. Raises as `store_secrets`, and writes nothing."""
    found = _read_all(client, config, fields_by_path, todo, replaces=replaces, keeps=keeps)
    return not any(secret.is_missing for secret in found)


def conflicts(
    client: AdminClient, config: Config, fields_by_path: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Path, as in templates, and field of each that has another value in Vault."""
    found = _read_all(client, config, fields_by_path, "", replaces=True)
    return tuple((path, key) for path, one in zip(fields_by_path, found, strict=True) for key in one.conflicts)


def _read_all(
    client: AdminClient,
    config: Config,
    fields_by_path: Mapping[str, Mapping[str, str]],
    todo: str,
    *,
    replaces: bool = False,
    keeps: bool = False,
) -> "list[_Secret]":
    scope = path_scope_of(config)
    if not mount_at(client, scope.mount).is_versioned:
        upgrade = "upgrade the mount: `bao kv enable-versioning`"
        what = "the mount is KV version 1, which has no check-and-set, so a write could overwrite a value"
        raise WriteError(what, where=scope.mount, todo=upgrade)
    paths = {str(scope.secret(path).path): fields for path, fields in fields_by_path.items()}
    read = partial(_read, client, scope.mount, todo=todo, replaces=replaces, keeps=keeps)
    return [read(path, fields) for path, fields in paths.items()]


class _Secret(ImmutableStruct, frozen=True):
    """The fields to store, and the fields that Vault has."""

    hidden = ("fields", "existing")

    mount: str
    path: str
    fields: Mapping[str, str]
    existing: Mapping[str, object]
    version: int
    conflicts: tuple[str, ...]
    """The fields that have another value in Vault."""

    @property
    def is_missing(self) -> bool:
        """Whether Vault lacks some of the fields, or has other values that are replaced."""
        return not self.fields.items() <= self.existing.items()


def _read(
    client: AdminClient,
    mount: str,
    path: str,
    fields: Mapping[str, str],
    *,
    todo: str,
    replaces: bool,
    keeps: bool,
) -> _Secret:
    response = client.read(f"{mount}/data/{path}") or {}
    existing = response.get("data") or {}
    others = sorted(key for key, value in fields.items() if key in existing and existing[key] != value)
    if others and not replaces and not keeps:
        what = f"Vault has another value for {', '.join(others)}"
        raise WriteError(what, where=f"{mount}/{path}", todo=f"nothing was written; {todo}")
    version = int((response.get("metadata") or {}).get("version") or _deleted_version(client, mount, path))
    stored = {key: value for key, value in fields.items() if not keeps or key not in others}
    return _Secret(mount, path, stored, existing, version, tuple(others))


def _deleted_version(client: AdminClient, mount: str, path: str) -> int:
    """The version of a deleted secret; 0 if the secret never existed or its metadata cannot be read."""
    try:
        return int((client.read(f"{mount}/metadata/{path}") or {}).get("current_version") or 0)
    except DeniedError:
        return 0


def _write(client: AdminClient, secret: _Secret) -> None:
    path, fields = f"{secret.mount}/data/{secret.path}", {**secret.existing, **secret.fields}
    try:
        client.write(path, {"data": fields, "options": {"cas": secret.version}})
    except DeniedError as exc:
        todo = exc.todo or "if another client wrote the secret at the same time, run this command again"
        raise DeniedError(exc.what, where=path, todo=todo) from None
    if ((client.read(path) or {}).get("data") or {}) != fields:
        raise WriteError(
            "Vault returned values that differ from the written ones", where=path, todo="run this command again"
        )
