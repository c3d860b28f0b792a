"""`lessee setup --remove ENVIRONMENT`: removes one environment, and changes no other."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config.grammar import scalars
from lessee.core.errors import UsageError
from lessee.host.clock import boot_time
from lessee.host.project import environments_of, read
from lessee.ops.setup.command.prompt import confirm
from lessee.ops.setup.discovery import require_ready
from lessee.ops.setup.removal import plan_removal, remove
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """0 where the environment was removed. Prints first what will be removed, and asks for the environment's name."""
    name = arguments.remove
    config = read(path, environ, environment=_checked(name), blocks=("setup",))
    with admin_client(config.vault, environ, boot_time) as client:
        require_ready(client)
        found = plan_removal(client, config)
        if found is None:
            known = ", ".join(environments_of(path, environ))
            what = f"setup has no record of the environment {name}, and removes only what it created"
            raise UsageError(what, todo=f"use one of: {known}")
        print(f"{name}: {found.count()}, below {config.secrets.mount}/{config.secrets.prefix}")
        if arguments.plan:
            return 0
        if not arguments.yes:
            confirm("this removes all of it permanently", name)
        with recorded_action(
            config.audit_trail, environ, "environment removed", name, server=config.vault.address
        ) as action:

            def report(what: str) -> None:
                print(what)
                action.step(what)

            remove(client, found, report)
    print(f"{name} removed")
    return 0


def _checked(name: str) -> str:
    word = scalars.scalar_of(scalars.Name)
    try:
        return str(word.read(name))
    except ValueError:
        raise UsageError(f"--remove wants {word.expected}", todo="name an environment") from None
