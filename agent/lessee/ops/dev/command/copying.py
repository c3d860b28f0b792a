"""`lessee dev --to URL`: prints the plan of a copy, asks, and copies."""

import argparse
import hmac
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config.grammar import scalars
from lessee.core.errors import ManuallyChangedError, UsageError
from lessee.host.progress import Progress, progress
from lessee.host.project import read
from lessee.host.proxies import proxy_for
from lessee.ops.backup import server as backup_server
from lessee.ops.dev.command.messages import confirm, warn
from lessee.ops.dev.command.start import config_path
from lessee.ops.dev.copy import Copy, CopyPlan
from lessee.ops.dev.folder import TOKEN, DevFolder
from lessee.ops.dev.policy.server_config import CA
from lessee.ops.dev.server import client_of
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport


def run(arguments: argparse.Namespace, folder: DevFolder, environ: Mapping[str, str]) -> int:
    """Copy all to the server of --to. Raises ManuallyChangedError where something is left to a person."""
    address, token = _target(arguments, folder, environ)
    path = config_path(arguments, environ)
    trail = read(path, environ).audit_trail if path is not None else None
    with (
        client_of(folder.path, folder.text(TOKEN), address.namespace) as source,
        closing(Transport(address)) as transport,
        progress(quiet=arguments.quiet) as shown,
    ):
        target = AdminClient(transport, token)
        if backup_server.describe(target, None).cluster_id == backup_server.describe(source, None).cluster_id:
            raise UsageError("this is the server for development itself", where=address.url, todo="name another")
        copy = Copy(source, target, shown, force=arguments.force)
        plan = copy.plan()
        _print_plan(plan, shown)
        if arguments.plan:
            return 0
        if plan.writes:
            if not arguments.yes:
                confirm("yes", "copied", f"copy {plan.writes} to {address.url}")
            with recorded_action(
                trail, environ, "copied from a server for development", None, server=address.url
            ) as action:
                copy.apply()
                for line in plan.lines:
                    if line.is_write:
                        action.step(line.text)
            print(f"copied and verified: {plan.writes}; the server for development is unchanged")
    for note in plan.notes:
        print(f"note: {note}")
    if plan.left:
        what = f"{plan.left} left to you (marked with !)"
        raise ManuallyChangedError(what, where=address.url, todo="do what each line says; running this again is safe")
    return 0


def _target(arguments: argparse.Namespace, folder: DevFolder, environ: Mapping[str, str]) -> tuple[Address, str]:
    """The other server, and a token for it. What `--export` sets belongs to this server, and is never sent there."""
    word = scalars.scalar_of(scalars.VaultAddress)
    try:
        url = str(word.read(arguments.to))
    except ValueError:
        raise UsageError(f"--to wants {word.expected}", todo="name the server that gets the copy") from None
    if arguments.token_file:
        try:
            token = Path(arguments.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise UsageError("cannot be read", where=arguments.token_file, todo="name a file with a token") from None
    else:
        token = environ.get("VAULT_TOKEN", "").strip()
    if not token or hmac.compare_digest(token.encode(), folder.text(TOKEN).encode()):
        what = "$VAULT_TOKEN is the token of this server" if token else "there is no token for the other server"
        raise UsageError(what, where=url, todo="name a file with one of the other server: --token-file FILE")
    own = str(folder.path / CA)
    ca_file = arguments.ca_file or environ.get("VAULT_CACERT") or None
    if url.startswith("http:"):
        warn(f"the connection to {url} is not encrypted: who listens on the way gets all secrets")
    namespace = arguments.namespace or None
    ca_file = None if ca_file == own else ca_file
    return Address(url, namespace=namespace, ca_file=ca_file, proxy=proxy_for(url, environ)), token


def _print_plan(plan: CopyPlan, shown: Progress) -> None:
    for line in plan.lines:
        shown.print(line.text)
    shown.print(f"plan: {plan.writes} to write, {plan.equal} secrets equal, {plan.left} left to you")
