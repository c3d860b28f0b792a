"""`lessee check --policy`: the smallest Vault policy for the configuration, in HCL."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from urllib.parse import quote

from msgspec.structs import replace

from lessee.commands.run import refuse_without_apps
from lessee.core.config import Vault
from lessee.core.config.grammar.vault import AppRole
from lessee.core.errors import LesseeError, Refused, VaultUnreachable
from lessee.core.machine.failures import Failure, Kind
from lessee.core.policy import ASSUMED, Engine, identities, policy, reads_kv, text_of
from lessee.host.clock import boot_time
from lessee.host.project import find, load
from lessee.vault import answers, kv, leases
from lessee.vault.connect import address_of, method_of
from lessee.vault.connections import Connections
from lessee.vault.door import CONNECT_TIMEOUT, READ_TIMEOUT, Address, Door, RequestFailed


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
    address = address_of(vault, environ)
    try:
        with closing(Door(address)) as door, _token(vault, door, value, environ) as token:
            version = kv.mount_version(door, token, mount)
            return Engine(version, version == 2 and _is_detailed(address, door.address, token, mount))  # noqa: PLR2004
    except RequestFailed as exc:
        raise _error(exc.failure, vault) from None


@contextmanager
def _token(vault: Vault, door: Door, value: str, environ: Mapping[str, str]) -> Iterator[str]:
    """The operator's token, or one of a login as the agent's, which is revoked afterwards."""
    if value:
        yield value
        return
    auth = vault.auth
    if isinstance(auth, AppRole):
        if auth.wrapped:
            todo = "set $VAULT_TOKEN to a token of yours"
            raise Refused("a login would spend the wrapping token, which is for the agent", todo=todo)
        auth = replace(auth, remove_secret_id_file_after_reading=False)
    grant = method_of(auth, environ).login(door, boot_time)
    try:
        yield grant.value
    finally:
        if grant.token.ours:
            with suppress(RequestFailed):  # It ends by itself.
                leases.revoke_token(door, grant.value)


def _is_detailed(address: Address, url: str, token: str, mount: str) -> bool:
    """By the help, for which any valid token may ask: which pattern of the engine's does the path match?

    A listing would tell less: KV answers 404 both for an empty folder and for what it does not know.
    """
    headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
    if address.namespace:
        headers["X-Vault-Namespace"] = address.namespace
    target = f"/v1/{quote(mount)}/detailed-metadata/?help=1"
    try:
        with closing(Connections(address).open(url, timeout=CONNECT_TIMEOUT)) as connection:
            response, content = connection.exchange("GET", target, None, headers, READ_TIMEOUT)
    except (OSError, HTTPException) as exc:
        raise RequestFailed(Failure(Kind.WEATHER, answers.transport(exc))) from None
    return response.status == 200 and b"^detailed-metadata/" in content  # noqa: PLR2004  # OK.


def _error(failure: Failure, vault: Vault) -> LesseeError:
    if failure.kind in {Kind.WEATHER, Kind.LIMITED, Kind.BROKEN}:
        return VaultUnreachable(failure.text, where=vault.address)
    todo = "set $VAULT_TOKEN to a token that may read there, or leave out --online"
    return Refused(failure.text, where=vault.address, todo=todo)
