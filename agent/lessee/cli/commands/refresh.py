"""`lessee refresh`: tell a running agent to look now."""

import argparse

from lessee.cli.commands.status import socket_of
from lessee.core.errors import UsageError
from lessee.status.server import ask


def run(arguments: argparse.Namespace) -> int:
    """Ends when the agent has taken it in; what it finds is in its log and status."""
    answer = ask(socket_of(arguments), "POST", "/refresh", arguments.paths)
    if answer["unknown"]:
        todo = "`lessee status` lists the paths that templates read"
        raise UsageError(f"no template reads {', '.join(answer['unknown'])}", todo=todo)
    print("looking at " + (", ".join(arguments.paths) or "everything"))
    return 0
