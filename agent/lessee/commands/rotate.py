"""`lessee rotate`: changes credentials in the systems that own them, and in Vault."""

import argparse
import os

from lessee.commands.rotating.watch import watch
from lessee.core.errors import UsageError
from lessee.host.project import find


def run(arguments: argparse.Namespace) -> int:
    """With --watch: until it is ended."""
    environ = dict(os.environ)
    if not arguments.watch:
        raise UsageError("say --watch")
    return watch(arguments, find(arguments.config, environ), environ)
