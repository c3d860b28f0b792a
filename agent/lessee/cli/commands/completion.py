"""`lessee completion`: prints a script that completes the command line in a shell."""

import argparse
import os
import re
from importlib import import_module

from lessee.cli.command_tree import command_tree
from lessee.cli.dispatch import whole_parser
from lessee.core.errors import LesseeError
from lessee.host.console import print_line
from lessee.host.project import find, read

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def run(arguments: argparse.Namespace) -> int:
    """Print the script of the shell; with --apps, what it offers as names of apps."""
    if arguments.apps:
        for name in _apps():
            print_line(name)
        return 0
    script: str = import_module(f"lessee.cli.completion.{arguments.shell}").script(command_tree(whole_parser()))
    print_line(script.removesuffix("\n"))
    return 0


def _apps() -> list[str]:
    """The apps of the configuration; none if it cannot be read. A shell may expand other names."""
    environ = dict(os.environ)
    try:
        return [name for name in read(find(None, environ), environ).apps if _PLAIN.fullmatch(name)]
    except LesseeError:
        return []
