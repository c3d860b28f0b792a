"""Looks up in a drill's server what the apps read."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from lessee.core.errors import VaultRequestError
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.rendering.app_templates import CompiledApp
from lessee.vault.admin import AdminClient

_VERSIONED = 2


def missing(client: AdminClient, compiled_app: CompiledApp) -> Iterator[str]:
    """What the app must have, and the server does not."""
    for need in sorted(compiled_app.references - compiled_app.optional, key=str):
        if isinstance(need, Ref):
            found = None
            with suppress(VaultRequestError):
                found = client.read_secret(Ref(need.mount, need.path, need.version), client.kv_version(need.mount))
            if not isinstance(found, Secret):
                yield f"the server has no secret {need}"


def own_secrets(client: AdminClient, compiled_app: CompiledApp, mount: str, prefix: str) -> Iterator[str]:
    """The paths below the prefix of what the app reads under the configuration's login."""
    for need in compiled_app.references:
        if isinstance(need, DynamicSecret) or need.identity or need.mount != mount:
            continue
        refs = [need] if isinstance(need, Ref) else _in_folder(client, need)
        yield from (
            ref.path.removeprefix(prefix) for ref in refs if ref.version is None and ref.path.startswith(prefix)
        )


def _in_folder(client: AdminClient, folder: Folder) -> list[Ref]:
    with suppress(VaultRequestError):
        return [folder.ref(name) for name in client.list_secrets(folder, _VERSIONED)]
    return []


def fields(client: AdminClient, mount: str, path: str) -> Mapping[str, Any]:
    """The fields of the newest version of a secret; empty for a path without one."""
    match client.read_secret(Ref(mount, path), _VERSIONED):
        case Secret(data=data):
            return data
        case _:
            return {}


def delete_below(client: AdminClient, path: str) -> None:
    """Delete all that a path lists, and what is below it."""
    for name in client.list(path):
        if name.endswith("/"):
            delete_below(client, f"{path}{name}")
        else:
            client.delete(f"{path}{name}")
