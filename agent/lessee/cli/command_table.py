"""The table of commands: for each one its options, and the module whose `run` executes it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lessee.cli.options import operator, sidecar
from lessee.cli.options.shared import AddCommand


class Command(NamedTuple):
    """A command. `module` has a `run` and is imported only when the command is used."""

    add_options: Callable[[AddCommand], None]
    module: str


def _add_adopt(command: AddCommand) -> None:
    # Not of an agent: each start imports the others.
    from lessee.cli.options.adopt import add_adopt

    add_adopt(command)


def _add_push(command: AddCommand) -> None:
    from lessee.cli.options.push import add_push

    add_push(command)


def _about(name: str) -> Callable[[AddCommand], None]:
    """The function that adds a command about lessee itself."""

    def add(command: AddCommand) -> None:
        from lessee.cli.options import shell

        getattr(shell, f"add_{name}")(command)

    return add


COMMANDS: Mapping[str, Command] = {
    "run": Command(sidecar.add_run, "lessee.cli.commands.run"),
    "exec": Command(sidecar.add_exec, "lessee.cli.commands.exec"),
    "render": Command(sidecar.add_render, "lessee.cli.commands.render"),
    "clean": Command(sidecar.add_clean, "lessee.cli.commands.clean"),
    "read": Command(sidecar.add_read, "lessee.cli.commands.read"),
    "check": Command(sidecar.add_check, "lessee.ops.lint.command"),
    "scan": Command(sidecar.add_scan, "lessee.ops.scan.command"),
    "import": Command(sidecar.add_import, "lessee.cli.commands.import_file"),
    "mcp": Command(sidecar.add_mcp, "lessee.ops.mcp.command"),
    "status": Command(sidecar.add_status, "lessee.cli.commands.status"),
    "refresh": Command(sidecar.add_refresh, "lessee.cli.commands.refresh"),
    "adopt": Command(_add_adopt, "lessee.ops.adopt.command"),
    "demo": Command(sidecar.add_demo, "lessee.cli.commands.demo"),
    "dev": Command(operator.add_dev, "lessee.ops.dev.command"),
    "setup": Command(operator.add_setup, "lessee.ops.setup.command"),
    "set": Command(operator.add_set, "lessee.ops.edit.command"),
    "validate": Command(operator.add_validate, "lessee.ops.validate.command"),
    "rotate": Command(operator.add_rotate, "lessee.ops.rotate.command"),
    "issue": Command(operator.add_issue, "lessee.ops.issue.command"),
    "push": Command(_add_push, "lessee.ops.push.command"),
    "backup": Command(operator.add_backup, "lessee.ops.backup.command"),
    "emergency": Command(operator.add_emergency, "lessee.ops.incident.command"),
    "drill": Command(operator.add_drill, "lessee.ops.drill.command"),
    "monitor": Command(operator.add_monitor, "lessee.ops.monitor.command"),
    "audit": Command(operator.add_audit, "lessee.ops.audit.command"),
    "doctor": Command(_about("doctor"), "lessee.ops.doctor.command"),
    "completion": Command(_about("completion"), "lessee.cli.commands.completion"),
    "upgrade-notes": Command(_about("upgrade_notes"), "lessee.cli.commands.upgrade_notes"),
}
"""By name, in the order of `lessee --help`."""
