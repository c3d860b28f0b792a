"""`lessee refresh`: tell a running agent to look now."""

import argparse

from lessee.commands.status import socket_of
from lessee.host.status import ask


def run(arguments: argparse.Namespace) -> int:
    """Ends when the agent has taken it in; what it finds is in its log and status."""
    ask(socket_of(arguments), "POST", "/refresh", arguments.paths)
    print("looking at " + (", ".join(arguments.paths) or "everything"))
    return 0
