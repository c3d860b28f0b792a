"""`lessee refresh`: has a running agent check its secrets now."""

import argparse

from lessee.cli.commands.status import socket_of
from lessee.core.errors import UsageError
from lessee.status.client import known_format, request_status


def run(arguments: argparse.Namespace) -> int:
    """Returns when the agent has accepted the request. The result is in its log and status."""
    socket = socket_of(arguments)
    answer = request_status(socket, "POST", "/refresh", arguments.paths)
    with known_format(socket):
        unknown = ", ".join(answer["unknown"])
    if unknown:
        todo = "`lessee status` lists the paths that templates read"
        raise UsageError(f"no template reads {unknown}", todo=todo)
    print("checking " + (", ".join(arguments.paths) or "all secrets"))
    return 0
