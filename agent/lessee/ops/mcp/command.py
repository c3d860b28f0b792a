"""`lessee mcp wrap`: an MCP client's secrets go into Vault, and `lessee exec` starts its servers."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lessee.audit_trail.operator_acts import acting
from lessee.core.errors import LesseeError, ManuallyChangedError, RefusedError, UsageError
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.ops.mcp import client_file, vault_store
from lessee.ops.mcp.client_file import Original
from lessee.ops.mcp.config_file import Configuration
from lessee.ops.mcp.policy import jsonc
from lessee.ops.mcp.policy.diff import diff, traces
from lessee.ops.mcp.policy.editor import edited
from lessee.ops.mcp.policy.jsonc import Document
from lessee.ops.mcp.policy.plan import Left, Plan, is_wrapped, plan
from lessee.ops.mcp.policy.secret_detection import Judge
from lessee.ops.mcp.policy.servers import Server, servers, words
from lessee.process.hardening import make_private
from lessee.rendering.app_templates import space_of
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """0 where no secret stands in the file any more; 75 where one was left to a person."""
    escape_unknown()
    make_private()
    environ = dict(os.environ)
    judge = Judge(frozenset(arguments.secret), frozenset(arguments.leave))
    with client_file.opened(Path(arguments.file)) as original:
        document = jsonc.parse(original.text, original.path.name)
        found = servers(document, original.path.name)
        configuration = Configuration(arguments.config, environ, respawn=arguments.respawn is not None)
        made = plan(
            document,
            original.path.name,
            found,
            judge,
            prefix=_prefix(arguments.path, configuration),
            variable=configuration.variable,
            is_free=configuration.is_free,
        )
        left = list(made.left)
        if made.wrapped:
            configuration.refuse_misfit(made.wrapped)
            text = edited(document, made.wrapped, configuration.start)
            after = jsonc.parse(text, original.path.name)
            left += _traces(after, made, original)
            _show(found, _checked(after, original, found, made), made, judge)
            if not arguments.dry_run:
                original.refuse_unwritable()
                _confirm(yes=arguments.yes)
                _wrap(original, text, made, configuration, environ, _backups(arguments.backup, environ))
        else:
            _tell_quiet(made)
    return _tell_left(left)


def _wrap(
    original: Original,
    text: str,
    made: Plan,
    configuration: Configuration,
    environ: Mapping[str, str],
    backups: Path,
) -> None:
    """Vault first and the file last, so that an end at any moment loses nothing; run again, it goes on."""
    with admin_client(configuration.config.vault, environ, boot_time) as server:
        config = configuration.config
        paths = ", ".join(sorted({one.secret for one in made.wrapped}))
        about = {"file": str(original.path), "paths": paths, "server": config.vault.address}
        with acting(config.trail, environ, "MCP secrets stored", config.environment, **about):
            vault_store.store(server, config, made.wrapped, print)
    for file in configuration.write(made.wrapped):
        print(f"+ {file}")
    for app in sorted({one.app for one in made.wrapped}):
        configuration.try_out(app)
        print(f"{app}: starts as the client will start it")
    kept = client_file.keep(original, backups)
    original.replace(text)
    where, back = shlex.quote(str(original.path)), shlex.quote(str(kept))
    print(f"{original.path} is rewritten; restart its client")
    print(f"the old one, with its secrets, is kept: undo with `cp {back} {where}`; once all works, `rm {back}`")
    print("what has stood in a file may be in copies and in git: give these secrets new values now")


def _prefix(option: str, configuration: Configuration) -> str:
    """The folder of the secrets, as templates have it."""
    prefix = f"{option.strip('/')}/" if option.strip("/") else ""
    try:
        space_of(configuration.config).secret(f"{prefix}server")
    except RefusedError as exc:
        raise UsageError(exc.what, where="--path", todo=exc.todo) from None
    if any(char in "\"'\\{}#%*" for char in prefix):
        raise UsageError(f"{option!r} is no folder", where="--path", todo="write letters, digits, `-`, `_` and `/`")
    return prefix


def _checked(after: Document, original: Original, found: Sequence[Server], made: Plan) -> tuple[Server, ...]:
    """The servers of the new file. Raises LesseeError where it does not say what it was to say."""
    new = servers(after, original.path.name)
    wanted = {one.server.place: one for one in made.wrapped}
    for old, one in zip(found, new, strict=True):
        its = words(one)
        if old.place in wanted:
            assert its is not None
            if is_wrapped(its.command.value, [arg.value for arg in its.args]):
                continue
        elif original.text[old.object.start : old.object.end] == after.text[one.object.start : one.object.end]:
            continue
        raise LesseeError("it would not be rewritten rightly; please report it", where=f"{original.path}: {old.place}")
    return new


def _traces(after: Document, made: Plan, original: Original) -> list[Left]:
    values = [value for one in made.wrapped for name, value in one.fields.items() if name in one.removed]
    values += [value for one in made.wrapped for value in one.program.variables.values()]
    what, todo = "a secret that moves stands here as well, in a comment or elsewhere", "take it out"
    return [Left(f"{original.path.name}:{line} (as rewritten)", what, todo) for line in traces(after, values)]


def _show(before: Sequence[Server], after: Sequence[Server], made: Plan, judge: Judge) -> None:
    for line in diff(before, after, judge):
        print(line)
    for one in made.wrapped:
        print(f"{one.server.place}: {', '.join(sorted(one.fields))} → {one.secret}")
        for variable in one.program.seen:
            what = f"its program takes {variable} as an argument, which all on this machine can read"
            todo = "does it take it from its environment as well?"
            print(f"lessee: warning: {one.server.place}: {what}; {todo}", file=sys.stderr)
    _tell_quiet(made)


def _tell_quiet(made: Plan) -> None:
    for server, why in made.quiet:
        print(f"{server.place}: {why}")


def _tell_left(left: Sequence[Left]) -> int:
    for one in left:
        print(f"lessee: {one}", file=sys.stderr)
    if left:
        what = f"{len(left)} thing{'s' * (len(left) != 1)} left in the file"
        raise ManuallyChangedError(what, todo="see above; nothing else stands in the way")
    return 0


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("it cannot be asked whether this is meant: there is no terminal", todo="add --yes")
    try:
        typed = input("write all this? [y/N] ")
    except (EOFError, UnicodeDecodeError):
        typed = ""
    if typed.strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was written")


def _backups(option: str | None, environ: Mapping[str, str]) -> Path:
    """Not beside the file: what lies there is soon in git."""
    if option is not None:
        return Path(option).absolute()
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local/state"
    return Path(state).absolute() / "lessee" / "mcp-backups"
