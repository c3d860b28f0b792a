"""`lessee check --policy`: the smallest Vault policy for the configuration, in HCL."""

import argparse
import os
import sys
from collections.abc import Mapping

from lessee.commands.run import refuse_without_apps
from lessee.core.config import Vault
from lessee.core.policy import ASSUMED, Engine, identities, policy, reads_kv, text_of
from lessee.host.clock import boot_time
from lessee.host.project import find, load
from lessee.vault import kv
from lessee.vault.door import RequestFailed
from lessee.vault.operator import error, operator


def run(arguments: argparse.Namespace) -> int:
    """One policy for each way to log in. `arguments.online`: the server is asked what its KV mount is like."""
    environ = dict(os.environ)
    project = load(find(arguments.config, environ), environ, for_child=True)
    refuse_without_apps(project)
    top, mount = project.config.vault, project.config.secrets.mount
    texts = []
    for vault, recipes in identities(project.recipes.values(), top).items():
        engine = ASSUMED
        if arguments.online and reads_kv(recipes):
            # An operator's token is for the server that the operator means.
            value = environ.get("VAULT_TOKEN", "").strip() if _server(vault) == _server(top) else ""
            engine = _ask(vault, mount, value, environ)
        texts.append(text_of(policy(vault, recipes, engine)))
    sys.stdout.write("\n".join(texts))
    return 0


def _server(vault: Vault) -> object:
    return vault.address, vault.addresses, vault.namespace


def _ask(vault: Vault, mount: str, value: str, environ: Mapping[str, str]) -> Engine:
    """What the mount is like. Raises Refused or VaultUnreachable."""
    with operator(vault, environ, boot_time, token=value) as asking:
        door, token = asking.door, asking.token
        try:
            version = kv.mount_version(door, token, mount)
            return Engine(version, version == 2 and kv.is_detailed(door, token, mount))  # noqa: PLR2004
        except RequestFailed as exc:
            raise error(exc.failure, vault.address) from None
