"""`lessee mcp wrap`: moves the secrets of an MCP client's file to Vault, and has `lessee exec` start its servers."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lessee.core.errors import ManuallyChangedError
from lessee.host.console import confirm, escape_unknown
from lessee.host.user_file import UserFile, open_user_file
from lessee.host.user_state import user_state
from lessee.ops.mcp.backup import back_up
from lessee.ops.mcp.config_file import McpConfig
from lessee.ops.mcp.policy.diff import diff
from lessee.ops.mcp.policy.plan import ManualStep, Plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import Server
from lessee.ops.mcp.wrapping import Wrapping, prepare
from lessee.process.hardening import harden


def run(arguments: argparse.Namespace) -> int:
    """0 if the file contains no secret any more. Raises ManuallyChangedError (75) if manual steps remain."""
    escape_unknown()
    harden()
    environ = dict(os.environ)
    detector = SecretDetector(frozenset(arguments.secret), frozenset(arguments.exclude))
    with open_user_file(Path(arguments.file), "lessee mcp wrap") as file:
        wrapping = prepare(
            file,
            detector,
            lambda: McpConfig(arguments.config, environ, respawn=arguments.respawn is not None),
            prefix=arguments.path,
        )
        if wrapping.config is not None:
            _print_changes(wrapping.before, wrapping.after, wrapping.planned, detector)
            if not arguments.dry_run:
                file.check_writable()
                confirm("apply these changes?", yes=arguments.yes)
                _apply(file, wrapping, environ, _backup_directory(arguments.backup, environ))
        else:
            _print_unchanged(wrapping.planned)
    _print_manual_steps(wrapping.steps)
    return 0


def _apply(file: UserFile, wrapping: Wrapping, environ: Mapping[str, str], backups: Path) -> None:
    """Write to Vault first and to the client's file last: a killed run loses nothing, and a later run continues."""
    wrapping.store(environ, str(file.path), print)
    backup = back_up(file, backups)
    file.replace(wrapping.text.encode())
    original_path, backup_path = shlex.quote(str(file.path)), shlex.quote(str(backup))
    print(f"{file.path} was rewritten; restart the client")
    print(f"the backup contains the secrets; undo: `cp {backup_path} {original_path}`; delete it: `rm {backup_path}`")
    print(_leftovers(wrapping))
    print("rotate these secrets now: copies of the file, or git, may still contain the old values")


def _leftovers(wrapping: Wrapping) -> str:
    """What an undo leaves: other clients may start the same servers with it."""
    assert wrapping.config is not None
    config, wrapped = wrapping.config, wrapping.planned.wrapped
    apps = sorted({server.app for server in wrapped})
    templates = " ".join(shlex.quote(str(config.template_file(app))) for app in apps)
    secrets = ", ".join(sorted({server.secret for server in wrapped}))
    return (
        f"an undo leaves, for other clients that use them: {', '.join(apps)} below `apps` in {config.path}; "
        f"the templates (`rm {templates}`); in Vault: {secrets}"
    )


def _print_changes(before: Sequence[Server], after: Sequence[Server], planned: Plan, detector: SecretDetector) -> None:
    for line in diff(before, after, detector):
        print(line)
    for wrapped in planned.wrapped:
        print(f"{wrapped.server.path}: {', '.join(sorted(wrapped.fields))} → {wrapped.secret}")
        for variable in wrapped.program.exposed:
            what = f"the program gets {variable} as an argument, which all users of this machine can read"
            todo = "if the program can read an environment variable instead, configure that"
            print(f"lessee: warning: {wrapped.server.path}: {what}; {todo}", file=sys.stderr)
    _print_unchanged(planned)


def _print_unchanged(planned: Plan) -> None:
    for server, reason in planned.unchanged:
        print(f"{server.path}: {reason}")


def _print_manual_steps(steps: Sequence[ManualStep]) -> None:
    """Raises ManuallyChangedError if there are any."""
    for step in steps:
        print(f"lessee: {step}", file=sys.stderr)
    if steps:
        what = f"{len(steps)} manual step{'s' * (len(steps) != 1)} remain{'s' * (len(steps) == 1)}"
        raise ManuallyChangedError(what, todo="see the messages above")


def _backup_directory(option: str | None, environ: Mapping[str, str]) -> Path:
    """The directory for backups. It is not the client file's, which may be in a git repository."""
    if option is not None:
        return Path(option).absolute()
    return user_state(environ) / "mcp-backups"
