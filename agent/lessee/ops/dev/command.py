"""`lessee dev`: runs, shows, stops, resets and copies a server for development."""

import argparse
import hmac
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config.grammar import scalars
from lessee.core.errors import ConfigError, LesseeError, ManuallyChangedError, UsageError, VaultRequestError, WriteError
from lessee.host.console import escape_unknown
from lessee.host.openbao import find_bao
from lessee.host.progress import Progress, progress
from lessee.host.project import Project, find, load, read
from lessee.host.proxies import proxy_for
from lessee.ops.backup import server as backup_server
from lessee.ops.backup.secret_reader import folders
from lessee.ops.dev.copy import Copy, CopyPlan
from lessee.ops.dev.folder import LOCK, LOG, PROVISIONED, STARTED, TOKEN, DevFolder, FolderMissingError, default_folder
from lessee.ops.dev.policy.exports import export_lines
from lessee.ops.dev.policy.server_config import CA
from lessee.ops.dev.server import (
    DEFAULT_PORT,
    DevServer,
    address_of,
    client_of,
    end,
    ensure_token,
    port_of,
    start,
)
from lessee.ops.setup.command import set_up_server
from lessee.ops.setup.policy.objects import Group
from lessee.ops.setup.policy.plan import Conflict, ServerConfigRequired, Step
from lessee.ops.setup.policy.plan_report import step_lines
from lessee.process.hardening import harden
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport

_INCOMPLETE = ManuallyChangedError.exit_code
_NOT_RUNNING = 1
_DAY = 86400.0
_WAIT = 60.0
_PAUSE = 0.05
_ABOUT = "for development only: the key that unseals it is in the same folder as its data"


def run(arguments: argparse.Namespace) -> int:
    """0 on success; --status returns 1 where no server runs; 75 where something is left to a person."""
    escape_unknown()
    harden()
    environ = dict(os.environ)
    path = Path(arguments.directory) if arguments.directory else default_folder(environ)
    _check(arguments)
    if arguments.export or arguments.status or arguments.stop or arguments.reset or arguments.to:
        return _look(arguments, path, environ)
    return _start(arguments, path, environ)


def _check(arguments: argparse.Namespace) -> None:
    of_copy = ("plan", "force", "token_file", "ca_file", "namespace")
    for name in of_copy if arguments.to is None else ():
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} has no effect without --to", todo="omit it, or add --to URL")
    if arguments.yes and not (arguments.to or arguments.reset):
        raise UsageError("--yes has no effect without --to or --reset", todo="omit it")


# Start


def _start(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    program = arguments.bao or find_bao()
    found = _config(arguments, environ)
    # An invalid configuration is an error before there is a server.
    project = _project(found, environ) if found is not None else None
    if not arguments.detach:
        with DevFolder(path, make=True) as folder:
            if _is_running(folder) or not folder.take():
                what = "a server for development runs here already"
                todo = f"see `lessee dev{_options(arguments, folder)} --status`"
                raise WriteError(what, where=str(path), todo=todo)
            return _serve(folder, arguments, program, project, environ, lambda _: None)
    return _detached(lambda ready: _background(path, arguments, program, project, environ, ready))


def _config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """The configuration to set up; never the one of this machine in /etc, which is another server's."""
    if arguments.config or environ.get("LESSEE_CONFIG"):
        return find(arguments.config, environ)
    here = Path("lessee.yaml")
    return here.absolute() if here.is_file() else None


def _background(
    path: Path,
    arguments: argparse.Namespace,
    program: str,
    project: Project | None,
    environ: Mapping[str, str],
    ready: Callable[[int], None],
) -> int:
    with DevFolder(path, make=True) as folder:
        deadline = time.monotonic() + _WAIT
        while not _is_running(folder):
            if folder.take():
                return _serve(folder, arguments, program, project, environ, ready)
            # Another start is ahead of this one.
            if time.monotonic() > deadline:
                what, todo = "another process holds the folder, and its server is not ready", "see --status and --stop"
                raise WriteError(what, where=str(path), todo=todo)
        _say(f"a server for development runs here already: {address_of(port_of(folder))}, folder {path}")
        ensure_token(folder)
        left = project is not None and _set_up(folder, project, environ)
        return _INCOMPLETE if left else 0


def _serve(
    folder: DevFolder,
    arguments: argparse.Namespace,
    program: str,
    project: Project | None,
    environ: Mapping[str, str],
    ready: Callable[[int], None],
) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        server = start(folder, program, arguments.port or port_of(folder), _say)
    except KeyboardInterrupt:
        _say("stopped before it was ready; the next start continues")
        return 0
    try:
        if project is None:
            _say("no lessee.yaml here: nothing is set up but the KV engine secret/")
        left = project is not None and _set_up(folder, project, environ)
        _say(f"OpenBao for development at {server.address}, folder {folder.path}")
        _say(_ABOUT)
        _say(f'next: eval "$(lessee dev{_options(arguments, folder)} --export)"')
        ready(_INCOMPLETE if left else 0)
        while server.wait(_DAY) is None:
            with suppress(LesseeError):
                ensure_token(folder)
        raise server.ended()
    except KeyboardInterrupt:
        _say("stopping; its data stay")
        return 0
    finally:
        server.stop()


def _project(path: Path, environ: Mapping[str, str]) -> Project:
    """The project with its own environment: another one, such as production, belongs on another server."""
    project = load(path, environ, blocks=("setup", "rotation", "monitor"), for_child=True)
    if project.config.environment is None:
        what, todo = "it names no environment to set up", "write `environment: development`"
        raise ConfigError([LesseeError(what, where=path.name, todo=todo)])
    return project


def _set_up(folder: DevFolder, project: Project, environ: Mapping[str, str]) -> bool:
    """Whether something was left to a person. The server runs on: it has what could be set up."""
    token, vault, name = folder.text(TOKEN), project.config.vault, project.path.name
    own = address_of(port_of(folder))
    if vault.address not in {own, environ.get("VAULT_ADDR"), address_of(DEFAULT_PORT)}:
        _say(f"note: {name} names {vault.address}, so agents use that server; omit it, or write ${{VAULT_ADDR}}")
    # Audit devices are a matter of the real server: their files are on its host.
    groups = [group for group in Group if group is not Group.AUDIT]
    left: list[Step] = []

    def report(step: Step) -> None:
        print(next(iter(step_lines(step))))
        if isinstance(step, Conflict | ServerConfigRequired):
            left.append(step)

    try:
        with folder.setting_up():
            if vault.namespace:
                _make_namespace(folder, vault.namespace, token)
            with client_of(folder.path, token, vault.namespace) as client:
                set_up_server(client, project, groups, environ, report)
    except LesseeError as exc:
        _warn(f"{name} is not set up completely: {exc}")
        _warn("the server runs; correct it, and run this again")
        return True
    if left:
        _warn(f"{len(left)} of it left in place (marked with !): change {name}, or use `lessee setup --force`")
    return bool(left)


def _make_namespace(folder: DevFolder, namespace: str, token: str) -> None:
    above = ""
    for name in namespace.strip("/").split("/"):
        with client_of(folder.path, token, above or None) as client:
            if f"{name}/" not in client.list("sys/namespaces"):
                client.write(f"sys/namespaces/{name}")
        above = f"{above}/{name}".strip("/")


def _detached(serve: Callable[[Callable[[int], None]], int]) -> int:
    """Run `serve` in a background process; return what it calls its argument with, or else its exit code.

    Until then it has this terminal, and after that no output: the server's log is in the folder.
    """
    receiver, sender = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receiver)
        os.setsid()
        return serve(lambda code: _leave_terminal(sender, code))
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        try:
            said = stream.read()
        except KeyboardInterrupt:
            os.kill(pid, signal.SIGTERM)
            said = stream.read()
    return int(said) if said else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _leave_terminal(sender: int, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.write(sender, str(code).encode())
    os.close(sender)


def _is_running(folder: DevFolder) -> bool:
    return folder.is_held() and _is_ready(folder)


def _is_ready(folder: DevFolder) -> bool:
    if {STARTED, PROVISIONED} & folder.names() or not folder.has(TOKEN):
        return False
    with suppress(VaultRequestError), client_of(folder.path) as client:
        health = client.health()
        return not (health["sealed"] or health["standby"])
    return False


# Look at it, stop it, reset it, copy it


def _look(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    try:
        folder = DevFolder(path, make=False)
    except FolderMissingError as exc:
        if arguments.status or arguments.stop or arguments.reset:
            print(exc)
            return _NOT_RUNNING if arguments.status else 0
        raise
    with folder:
        if arguments.status:
            return _status(folder)
        if arguments.stop:
            print("stopped; its data stay" if _stop(folder) else "it does not run")
            return 0
        if arguments.reset:
            return _reset(arguments, folder)
        _require_running(folder)
        ensure_token(folder)
        if arguments.export:
            files = (str(folder.path / CA), str(folder.path / TOKEN))
            print(*export_lines(address_of(port_of(folder)), *files, environ), sep="\n")
            return 0
        return _copy(arguments, folder, environ)


def _require_running(folder: DevFolder) -> None:
    if folder.is_held() and not _is_ready(folder):
        raise FolderMissingError("the server is not ready", where=str(folder.path / LOG), todo="see the end of its log")
    if not folder.is_held():
        raise FolderMissingError("the server does not run", where=str(folder.path), todo="start it with `lessee dev`")


def _status(folder: DevFolder) -> int:
    holder, is_ready = folder.holder(), _is_running(folder)
    state = "running" if is_ready else "not ready; see openbao.log" if folder.is_held() else "not running"
    process = f", process {holder.pid}" if holder else ""
    print(f"{state}{process}")
    if is_ready:
        print(f"  address  {address_of(port_of(folder))}")
    print(f"  folder   {folder.path} ({folder.size():,} bytes of data)")
    print(f"  token    {folder.path / TOKEN}")
    print(f"  CA       {folder.path / CA}")
    return 0 if is_ready else _NOT_RUNNING


def _stop(folder: DevFolder) -> bool:
    """Whether it ran."""
    deadline = time.monotonic() + _WAIT
    while folder.is_held():
        if holder := folder.holder():
            end(holder.pid, lambda: not folder.is_held())
            return True
        if time.monotonic() > deadline:
            raise WriteError("another process holds it, and it is not known which", where=str(folder.path / LOCK))
        time.sleep(_PAUSE)  # It has just taken the folder, or its server is ending.
    return False


def _reset(arguments: argparse.Namespace, folder: DevFolder) -> int:
    print(f"this removes all that the server in {folder.path} holds, forever: {_contents(folder)}", flush=True)
    if not arguments.yes:
        _confirm("reset", "removed")
    if not folder.is_taken:
        _stop(folder)
    if not (folder.is_taken or folder.take()):
        raise WriteError("another process has just started it", where=str(folder.path), todo="run it again")
    folder.clear()
    print("reset: the next `lessee dev` begins with an empty server")
    return 0


def _contents(folder: DevFolder) -> str:
    """What would be lost. A server that does not run is started for the question, and for no other client."""
    size = f"{folder.size():,} bytes of data with keys"
    try:
        if _is_running(folder):
            return f"{_count(folder)}; {size}"
        if not folder.is_held() and folder.has(TOKEN) and folder.take():
            server = DevServer(folder, find_bao(), port_of(folder), closed=True)
            try:
                ensure_token(folder)
                return f"{_count(folder)}; {size}"
            finally:
                server.stop()
    except LesseeError as exc:
        return f"{size}; what they are is not known ({exc.what})"
    return size


def _count(folder: DevFolder) -> str:
    with client_of(folder.path, folder.text(TOKEN)) as client:
        mounts = backup_server.mounts(client, "mount")
        kv = {
            path: 2 if backup_server.is_versioned(one) else 1
            for path, one in mounts.items()
            if one["type"] in {"kv", "generic"}
        }
        count = sum(len(one.names) for one in folders(client, kv))
        policies = len(client.list("sys/policies/acl"))
    return f"{count} secret{'s' * (count != 1)} with all versions in {', '.join(kv)}, {policies} policies, all roles"


def _copy(arguments: argparse.Namespace, folder: DevFolder, environ: Mapping[str, str]) -> int:
    address, token = _target(arguments, folder, environ)
    config_path = _config(arguments, environ)
    trail = read(config_path, environ).audit_trail if config_path is not None else None
    with (
        client_of(folder.path, folder.text(TOKEN), address.namespace) as source,
        closing(Transport(address)) as transport,
        progress(quiet=arguments.quiet) as shown,
    ):
        target = AdminClient(transport, token)
        if backup_server.describe(target, None).cluster_id == backup_server.describe(source, None).cluster_id:
            raise UsageError("this is the server for development itself", where=address.url, todo="name another")
        copy = Copy(source, target, shown, force=arguments.force)
        plan = copy.plan()
        _print_plan(plan, shown)
        if arguments.plan:
            return 0
        if plan.writes:
            if not arguments.yes:
                _confirm("yes", "copied", f"copy {plan.writes} to {address.url}")
            with recorded_action(
                trail, environ, "copied from a server for development", None, server=address.url
            ) as action:
                copy.apply()
                for line in plan.lines:
                    if line.is_write:
                        action.step(line.text)
            print(f"copied and verified: {plan.writes}; the server for development is unchanged")
    for note in plan.notes:
        print(f"note: {note}")
    if plan.left:
        what = f"{plan.left} left to you (marked with !)"
        raise ManuallyChangedError(what, where=address.url, todo="do what each line says; running this again is safe")
    return 0


def _target(arguments: argparse.Namespace, folder: DevFolder, environ: Mapping[str, str]) -> tuple[Address, str]:
    """The other server, and a token for it. What `--export` sets belongs to this server, and is never sent there."""
    word = scalars.scalar_of(scalars.VaultAddress)
    try:
        url = str(word.read(arguments.to))
    except ValueError:
        raise UsageError(f"--to wants {word.expected}", todo="name the server that gets the copy") from None
    if arguments.token_file:
        try:
            token = Path(arguments.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise UsageError("cannot be read", where=arguments.token_file, todo="name a file with a token") from None
    else:
        token = environ.get("VAULT_TOKEN", "").strip()
    if not token or hmac.compare_digest(token.encode(), folder.text(TOKEN).encode()):
        what = "$VAULT_TOKEN is the token of this server" if token else "there is no token for the other server"
        raise UsageError(what, where=url, todo="name a file with one of the other server: --token-file FILE")
    own = str(folder.path / CA)
    ca_file = arguments.ca_file or environ.get("VAULT_CACERT") or None
    if url.startswith("http:"):
        _warn(f"the connection to {url} is not encrypted: who listens on the way gets all secrets")
    namespace = arguments.namespace or None
    ca_file = None if ca_file == own else ca_file
    return Address(url, namespace=namespace, ca_file=ca_file, proxy=proxy_for(url, environ)), token


def _print_plan(plan: CopyPlan, shown: Progress) -> None:
    for line in plan.lines:
        shown.print(line.text)
    shown.print(f"plan: {plan.writes} to write, {plan.equal} secrets equal, {plan.left} left to you")


def _confirm(word: str, done: str, what: str = "") -> None:
    """Ask for a word. Raises UsageError."""
    if sys.stdin is None or not sys.stdin.isatty():  # None: it is closed.
        raise UsageError("cannot ask for confirmation: there is no terminal", todo="add --yes")
    try:
        typed = input(f"{what}{'; ' * bool(what)}type {word} to continue: ")
    except (EOFError, UnicodeDecodeError):
        typed = ""
    if typed.strip() != word:
        raise UsageError(f"nothing was {done}: {word} was not typed")


def _options(arguments: argparse.Namespace, folder: DevFolder) -> str:
    """What names the folder in the commands that are printed."""
    return f" --directory {shlex.quote(str(folder.path))}" if arguments.directory else ""


def _say(text: str) -> None:
    print(f"lessee: {text}", file=sys.stderr, flush=True)


def _warn(text: str) -> None:
    _say(f"warning: {text}")
