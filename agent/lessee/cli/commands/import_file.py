"""`lessee import`: an env file, or the configuration of another agent."""

import argparse
from pathlib import Path

from lessee.core.errors import UsageError

_ENV_OPTIONS = ("config", "app", "environment", "path", "secret", "exclude", "prefer", "dry_run", "yes")


def run(arguments: argparse.Namespace) -> int:
    """As the command that the file belongs to."""
    # Each of both imports much that the other does not need.
    from lessee.ops.adopt import env_import

    if arguments.reader is not None or env_import.is_env_file(Path(arguments.file)):
        if arguments.output is not None:
            todo = "name the lessee.yaml with --config: the template is written next to it"
            raise UsageError("--output is not for an env file", todo=todo)
        return env_import.run(arguments)
    from lessee.ops.migrate import command

    for name in _ENV_OPTIONS:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            todo = "if the file is an env file, add --reader"
            raise UsageError(f"{option} is for env files alone", todo=todo)
    return command.run(arguments)
