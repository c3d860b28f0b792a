"""`lessee check --policy`: prints the smallest Vault policies for the configuration, in HCL."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lessee.agent.machine.apps.version_reports import ROTATION_COUNT
from lessee.config import Vault
from lessee.core.errors import ConfigError, DeniedError, LesseeError
from lessee.core.paths import Folder, Need, Ref
from lessee.host.clock import boot_time
from lessee.host.project import check_has_apps, find, load, read
from lessee.ops.access.policy.least_privilege import (
    ASSUMED,
    Engine,
    identities,
    kv_mounts,
    needs_of,
    policy,
    rotated_by,
    text_of,
)
from lessee.rendering.app_templates import CompiledApp
from lessee.vault.admin import AdminClient, admin_client


def run(arguments: argparse.Namespace) -> int:
    """Prints one policy for each login, or that of `lessee rotate`, `lessee monitor` or `lessee issue`.

    `arguments.online`: read from the server the KV version of the mount, and which secrets are rotated.
    """
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if arguments.rotator:
        sys.stdout.write(_of_rotator(path, environ))
        return 0
    if arguments.monitor:
        sys.stdout.write(_of_monitor(path, environ))
        return 0
    if arguments.issuer:
        sys.stdout.write(_of_issuer(path, environ))
        return 0
    project = load(path, environ, for_child=True, blocks=("rotation",))
    check_has_apps(project)
    top, rotated = project.config.vault, rotated_by(project.config)
    texts = []
    for vault, compiled_apps in identities(project.compiled_apps.values(), top).items():
        engines: Mapping[str, Engine] = {}
        if arguments.online and kv_mounts(vault, compiled_apps):
            # $VAULT_TOKEN is meant for the configured server, so it is not sent to others.
            value = environ.get("VAULT_TOKEN", "").strip() if server_of(vault) == server_of(top) else ""
            engines, more = _ask(vault, value, environ, compiled_apps)
            rotated = rotated | more if rotated is not None else None
        subscribes = vault == top and project.config.events is not None and project.config.events.vault
        made = policy(vault, compiled_apps, ASSUMED, rotated, subscribes=subscribes, engines=engines)
        texts.append(text_of(made))
    sys.stdout.write("\n".join(texts))
    return 0


def server_of(vault: Vault) -> object:
    """What two logins at the same server, and in the same namespace, have in common."""
    return vault.address, vault.addresses, vault.namespace


def _of_rotator(path: Path, environ: Mapping[str, str]) -> str:
    # Imported only for --rotator.
    from lessee.ops.access.policy.rotator_policy import of_rotator

    config = read(path, environ, blocks=("rotation",))
    if not config.rotation:
        todo = "add `rotation`, or omit --rotator"
        raise ConfigError([LesseeError("the configuration rotates nothing", where=path.name, todo=todo)])
    return of_rotator("-".join(filter(None, (config.environment, "rotator"))), config)


def _of_monitor(path: Path, environ: Mapping[str, str]) -> str:
    # Imported only for --monitor.
    from lessee.ops.access.policy.monitor_policy import of_monitor

    config = read(path, environ, blocks=("rotation", "monitor"))
    if config.monitor is None:
        todo = "add `monitor`, or omit --monitor"
        raise ConfigError([LesseeError("the configuration has no monitor", where=path.name, todo=todo)])
    text = of_monitor("-".join(filter(None, (config.environment, "monitor"))), config)
    if not text:
        what = "the monitor needs no login: `monitor.cluster` is not set, and no response needs Vault"
        raise ConfigError([LesseeError(what, where=path.name, todo="omit --monitor")])
    return text


def _of_issuer(path: Path, environ: Mapping[str, str]) -> str:
    # Imported only for --issuer.
    from lessee.ops.access.policy.issuer_policy import of_issuer

    config = read(path, environ, blocks=("issue",))
    if config.issue is None:
        todo = "add `issue`, or omit --issuer"
        raise ConfigError([LesseeError("the configuration issues nothing", where=path.name, todo=todo)])
    return of_issuer("-".join(filter(None, (config.environment, "issuer"))), config.issue)


def _ask(
    vault: Vault, value: str, environ: Mapping[str, str], compiled_apps: Sequence[CompiledApp]
) -> tuple[Mapping[str, Engine], frozenset[Ref]]:
    """The properties of the KV mounts, and the rotated secrets in them. Raises DeniedError or VaultUnreachableError."""
    with admin_client(vault, environ, boot_time, token=value) as client:
        engines = {mount: _engine(client, mount) for mount in kv_mounts(vault, compiled_apps)}
        needs = [need for need in needs_of(vault, compiled_apps) if not need.identity]
        versioned = [need for need in needs if isinstance(need, Ref | Folder) and engines[need.mount].version != 1]
        return engines, frozenset(_rotated(client, versioned))


def _engine(client: AdminClient, mount: str) -> Engine:
    version = client.kv_version(mount)
    return Engine(version, detailed=version != 1 and client.lists_kv_versions(mount))


def _rotated(client: AdminClient, needs: Iterable[Need]) -> Iterator[Ref]:
    """The secrets whose metadata has a rotator's record; secrets with unreadable metadata are left out."""
    for ref in sorted({Ref(ref.mount, ref.path) for need in needs for ref in _secrets(client, need)}):
        with suppress(DeniedError):
            metadata = (client.read(f"{ref.mount}/metadata/{ref.path}") or {}).get("custom_metadata") or {}
            if ROTATION_COUNT in metadata:
                yield ref


def _secrets(client: AdminClient, need: Need) -> Iterator[Ref]:
    if isinstance(need, Ref):
        yield need
    elif isinstance(need, Folder):
        with suppress(DeniedError):
            names = client.list(f"{need.mount}/metadata/{need.path}")
            yield from (need.ref(name) for name in names if not name.endswith("/"))
