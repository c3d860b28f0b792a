"""`lessee mcp wrap`: moves the secrets of an MCP client's file to Vault, and has `lessee exec` start its servers."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lessee.audit_trail.operator_actions import recorded_action
from lessee.core.errors import DeniedError, LesseeError, ManuallyChangedError, UsageError
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.user_file import UserFile, open_user_file
from lessee.ops.mcp.backup import back_up
from lessee.ops.mcp.config_file import McpConfig
from lessee.ops.mcp.policy import jsonc
from lessee.ops.mcp.policy.diff import diff, lines_with_secrets
from lessee.ops.mcp.policy.editor import rewrite
from lessee.ops.mcp.policy.jsonc import Document
from lessee.ops.mcp.policy.plan import ManualStep, Plan, is_wrapped, plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import Server, find_servers, launch_command
from lessee.ops.setup.secret_store import store_secrets
from lessee.process.hardening import harden
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """0 if the file contains no secret any more. Raises ManuallyChangedError (75) if manual steps remain."""
    escape_unknown()
    harden()
    environ = dict(os.environ)
    detector = SecretDetector(frozenset(arguments.secret), frozenset(arguments.exclude))
    with open_user_file(Path(arguments.file), "lessee mcp wrap") as file:
        document = jsonc.parse(file.text, file.path.name)
        servers = find_servers(document, file.path.name)
        if (planned := _plan_without_names(document, file.path.name, servers, detector)).wrapped == ():
            _print_unchanged(planned)
            _print_manual_steps(planned.manual_steps)
            return 0
        config = McpConfig(arguments.config, environ, respawn=arguments.respawn is not None)
        planned = plan(
            document,
            file.path.name,
            servers,
            detector,
            prefix=_prefix(arguments.path, config),
            variable=config.variable,
            is_available=config.is_available,
        )
        manual_steps = list(planned.manual_steps)
        if planned.wrapped:
            config.check_additions(planned.wrapped)
            text = rewrite(document, planned.wrapped, config.launch_options)
            after = jsonc.parse(text, file.path.name)
            manual_steps += _remaining_secrets(after, planned, file)
            _print_changes(servers, _rewritten_servers(after, file, servers, planned), planned, detector)
            if not arguments.dry_run:
                file.check_writable()
                _confirm(yes=arguments.yes)
                _apply(file, text, planned, config, environ, _backup_directory(arguments.backup, environ))
        else:
            _print_unchanged(planned)
    _print_manual_steps(manual_steps)
    return 0


def _plan_without_names(document: Document, source: str, servers: Sequence[Server], detector: SecretDetector) -> Plan:
    """What would be wrapped, under any name: if nothing is, the command needs neither lessee.yaml nor a login."""
    return plan(document, source, servers, detector, prefix="", variable="=", is_available=lambda _app, _template: True)


def _apply(
    file: UserFile, text: str, planned: Plan, config: McpConfig, environ: Mapping[str, str], backups: Path
) -> None:
    """Write to Vault first and to the client's file last: a killed run loses nothing, and a later run continues."""
    with admin_client(config.config.vault, environ, boot_time) as client:
        parsed = config.config
        paths = ", ".join(sorted({server.secret for server in planned.wrapped}))
        subject = {"file": str(file.path), "paths": paths, "server": parsed.vault.address}
        with recorded_action(parsed.audit_trail, environ, "MCP secrets stored", parsed.environment, **subject):
            fields = {server.secret: server.fields for server in planned.wrapped}
            store_secrets(client, parsed, fields, print, todo="pass another --path, or make the two values equal")
    for written in config.write(planned.wrapped):
        print(f"+ {written}")
    for app in sorted({server.app for server in planned.wrapped}):
        config.verify_start(app)
        print(f"{app}: start verified")
    backup = back_up(file, backups)
    file.replace(text.encode())
    original_path, backup_path = shlex.quote(str(file.path)), shlex.quote(str(backup))
    print(f"{file.path} was rewritten; restart the client")
    print(f"the backup contains the secrets; undo: `cp {backup_path} {original_path}`; delete it: `rm {backup_path}`")
    print("rotate these secrets now: copies of the file, or git, may still contain the old values")


def _prefix(option: str, config: McpConfig) -> str:
    """The prefix of the secrets' paths, as templates write it."""
    prefix = f"{option.strip('/')}/" if option.strip("/") else ""
    try:
        path_scope_of(config.config).secret(f"{prefix}server")
    except DeniedError as exc:
        raise UsageError(exc.what, where="--path", todo=exc.todo) from None
    if any(char in "\"'\\{}#%*" for char in prefix):
        todo = "write letters, digits, `-`, `_` and `/`"
        raise UsageError(f"{option!r} is not a valid path prefix", where="--path", todo=todo)
    return prefix


def _rewritten_servers(after: Document, file: UserFile, before: Sequence[Server], planned: Plan) -> tuple[Server, ...]:
    """The servers of the new file. Raises LesseeError if the new file is not as planned."""
    servers = find_servers(after, file.path.name)
    wrapped = {server.server.path for server in planned.wrapped}
    for old, new in zip(before, servers, strict=True):
        launch = launch_command(new)
        if old.path in wrapped:
            assert launch is not None
            if is_wrapped(launch.command.value, [arg.value for arg in launch.args]):
                continue
        elif file.text[old.object.start : old.object.end] == after.text[new.object.start : new.object.end]:
            continue
        what = "lessee would rewrite this server incorrectly, so it changed nothing"
        raise LesseeError(what, where=f"{file.path}: {old.path}", todo="please report this")
    return servers


def _remaining_secrets(after: Document, planned: Plan, file: UserFile) -> list[ManualStep]:
    values = [server.fields[name] for server in planned.wrapped for name in server.removed]
    values += [value for server in planned.wrapped for value in server.program.variables.values()]
    what, todo = "the line still contains a moved secret, in a comment or another part of the file", "remove it"
    return [
        ManualStep(f"{file.path.name}:{line} (as rewritten)", what, todo) for line in lines_with_secrets(after, values)
    ]


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


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("lessee cannot ask for confirmation: there is no terminal", todo="add --yes")
    try:
        typed = input("apply these changes? [y/N] ")
    except (EOFError, UnicodeDecodeError):
        typed = ""
    if typed.strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was written")


def _backup_directory(option: str | None, environ: Mapping[str, str]) -> Path:
    """The directory for backups. It is not the client file's, which may be in a git repository."""
    if option is not None:
        return Path(option).absolute()
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local/state"
    return Path(state).absolute() / "lessee" / "mcp-backups"
