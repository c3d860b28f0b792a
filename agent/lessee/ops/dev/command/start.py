"""`lessee dev [--detach]`: starts the server, or finds it running, and sets up a configuration on it."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError, ManuallyChangedError, WriteError
from lessee.host.openbao import find_bao
from lessee.host.project import Project, find, load
from lessee.ops.dev.command.messages import options, say, warn
from lessee.ops.dev.docker_gateway import resolve
from lessee.ops.dev.folder import TOKEN, DevFolder
from lessee.ops.dev.policy.listening import CONTAINER_NAMES, Listen, listen_word, url_of
from lessee.ops.dev.server import (
    DEFAULT_PORT,
    address_of,
    client_of,
    ensure_token,
    is_running,
    listen_of,
    port_of,
    require_free,
    start,
    stop,
)
from lessee.ops.setup.command import set_up_server
from lessee.ops.setup.policy.objects import Group
from lessee.ops.setup.policy.plan import Conflict, ServerConfigRequired, Step
from lessee.ops.setup.policy.plan_report import step_lines

_INCOMPLETE = ManuallyChangedError.exit_code
_DAY = 86400.0
_WAIT = 60.0
_ABOUT = "for development only: the key that unseals it is in the same folder as its data"


def run(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """Run the server until a signal, or with --detach return when it is ready. 75: something is left to a person."""
    program = arguments.bao or find_bao()
    if arguments.listen:
        listen_word(arguments.listen)
    found = config_path(arguments, environ)
    # An invalid configuration is an error before there is a server.
    project = _project(found, environ) if found is not None else None
    if not arguments.detach:
        with DevFolder(path, make=True) as folder:
            if is_running(folder) or not folder.take():
                what = "a server for development runs here already"
                own = options(arguments, folder)
                again = f"; to restart it so, use `lessee dev{own} --detach --listen …`" if arguments.listen else ""
                todo = f"see `lessee dev{own} --status`{again}"
                raise WriteError(what, where=str(path), todo=todo)
            return _serve(folder, arguments, program, project, environ, lambda _: None)
    return _detached(lambda ready: _background(path, arguments, program, project, environ, ready))


def config_path(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
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
        if is_running(folder) and arguments.listen:
            _make_way(folder, _listen(arguments, folder))
        while not is_running(folder):
            if folder.take():
                return _serve(folder, arguments, program, project, environ, ready)
            # Another start is ahead of this one.
            if time.monotonic() > deadline:
                what, todo = "another process holds the folder, and its server is not ready", "see --status and --stop"
                raise WriteError(what, where=str(path), todo=todo)
        say(f"a server for development runs here already: {address_of(port_of(folder))}, folder {path}")
        ensure_token(folder)
        left = project is not None and _set_up(folder, project, environ)
        return _INCOMPLETE if left else 0


def _listen(arguments: argparse.Namespace, folder: DevFolder) -> Listen:
    """Where it listens besides loopback: as asked for, or as the last start. Docker's address may be another now."""
    return resolve(listen_word(arguments.listen) if arguments.listen else listen_of(folder).word)


def _make_way(folder: DevFolder, listen: Listen) -> None:
    """Stop a server that listens elsewhere, unless this one could not listen there."""
    if listen == listen_of(folder):
        return
    if listen.address not in {"", listen_of(folder).address}:
        require_free(port_of(folder), listen.address)
    say("the server is restarted with another address; its data and token stay")
    stop(folder)


def listen_lines(listen: Listen, port: int) -> Iterator[str]:
    """Lines about the address for containers, if there is one."""
    if listen.address:
        yield f"listen   {url_of(listen.address, port)}"
        name = CONTAINER_NAMES[0]
        yield f'         in containers {url_of(name, port)}, with extra_hosts: ["{name}:host-gateway"]'


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
        listen = _listen(arguments, folder)
        server = start(folder, program, arguments.port or port_of(folder), listen, say)
    except KeyboardInterrupt:
        say("stopped before it was ready; the next start continues")
        return 0
    try:
        if project is None:
            say("no lessee.yaml here: nothing is set up but the KV engine secret/")
        left = project is not None and _set_up(folder, project, environ)
        say(f"OpenBao for development at {server.address}, folder {folder.path}")
        if listen.address:
            there = f"{url_of(CONTAINER_NAMES[0], server.port)} ({listen.address})"
            say(f"containers of this machine reach it at {there}, with its token and ca.pem")
        say(_ABOUT)
        say(f'next: eval "$(lessee dev{options(arguments, folder)} --export)"')
        ready(_INCOMPLETE if left else 0)
        while server.wait(_DAY) is None:
            with suppress(LesseeError):
                ensure_token(folder)
        raise server.ended()
    except KeyboardInterrupt:
        say("stopping; its data stay")
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
        say(f"note: {name} names {vault.address}, so agents use that server; omit it, or write ${{VAULT_ADDR}}")
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
        warn(f"{name} is not set up completely: {exc}")
        warn("the server runs; correct it, and run this again")
        return True
    if left:
        warn(f"{len(left)} of it left in place (marked with !): change {name}, or use `lessee setup --force`")
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
