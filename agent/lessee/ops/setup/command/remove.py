"""`lessee setup --remove ENV`: undoes one environment, and touches no other."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from lessee.audit_trail.operator_acts import acting
from lessee.config.grammar import scalars
from lessee.core.errors import UsageError
from lessee.host.clock import boot_time
from lessee.host.project import environments_of, read
from lessee.ops.setup.command.prompt import confirm
from lessee.ops.setup.discovery import require_ready
from lessee.ops.setup.removal import plan_removal, remove
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """0 where it is gone. What would go is told first, and the environment's name is asked for."""
    name = arguments.remove
    config = read(path, environ, environment=_checked(name), blocks=("setup",))
    with admin_client(config.vault, environ, boot_time) as client:
        require_ready(client)
        found = plan_removal(client, config)
        if found is None:
            known = ", ".join(environments_of(path, environ))
            what = f"setup has made nothing of the environment {name}"
            raise UsageError(what, todo=f"is it one of {known}? what it has not made, it does not remove")
        print(f"{name}: {found.count()}, below {config.secrets.mount}/{config.secrets.prefix}")
        if arguments.plan:
            return 0
        if not arguments.yes:
            confirm("all of it goes for good, and nothing brings it back", name)
        with acting(config.trail, environ, "environment removed", name, server=config.vault.address) as doing:

            def tell(what: str) -> None:
                print(what)
                doing.step(what)

            remove(client, found, tell)
    print(f"{name} is gone")
    return 0


def _checked(name: str) -> str:
    word = scalars.word_of(scalars.Name)
    try:
        return str(word.read(name))
    except ValueError:
        raise UsageError(f"--remove wants {word.expected}", todo="name an environment") from None
