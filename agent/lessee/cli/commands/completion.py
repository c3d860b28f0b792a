"""`lessee completion`: prints a script that completes the command line in a shell."""

import argparse
from importlib import import_module

from lessee.cli.command_tree import command_tree
from lessee.cli.dispatch import whole_parser
from lessee.host.console import print_line


def run(arguments: argparse.Namespace) -> int:
    """Print the script of the shell."""
    script: str = import_module(f"lessee.cli.completion.{arguments.shell}").script(command_tree(whole_parser()))
    print_line(script.removesuffix("\n"))
    return 0
