"""Prints an app's files, the secrets they read, and its check, notification, sockets and readiness, without secrets."""

from typing import assert_never
from urllib.parse import urlsplit

from lessee.config import (
    Child,
    CmdlineTarget,
    CommandProbe,
    CommandTarget,
    ContainerTarget,
    FileProbe,
    HttpProbe,
    HttpTarget,
    NameTarget,
    Notify,
    PidFileTarget,
    Probe,
    ReadSocket,
    TcpProbe,
    TlsProbe,
)
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.templates import CompiledTemplate


def print_app(compiled_app: CompiledApp) -> None:
    """Print the summary of an app."""
    app = compiled_app.app
    print(f"{app.name}  {app.directory}  refresh {app.refresh_interval:g}s")
    for file, compiled in compiled_app.files:
        print(f"  {file.name}  {file.format}  {file.mode:04o}  from {file.template}")
        _print_needs(compiled)
    if compiled_app.env_template is not None:
        print(f"  the environment of the child of `lessee exec`  from {app.env_template}")
        _print_needs(compiled_app.env_template)
    if app.check is not None:
        print(f"  checked by {app.check.command[0]}, within {app.check.timeout:g}s")
    print(f"  notified by {_notification(app.notify)}")
    if app.socket is not None:
        print(f"  read by {_readers(app.socket)} at {app.socket.path}")
        if app.socket.listen is not None:
            print(f"  read with the token in {app.socket.token_file} at {app.socket.listen}")
    if app.credentials is not None:
        print(f"  read by systemd for {', '.join(sorted(app.credentials.units))} at {app.credentials.path}")
    if app.ready is not None:
        print(f"  ready by {_probe(app.ready.probe)}, within {app.ready.timeout:g}s")


def _readers(socket: ReadSocket) -> str:
    users = ["the agent's user"] * socket.allows_own_user
    users += [f"uid {uid}" for uid in sorted(socket.uids)] + [f"gid {gid}" for gid in sorted(socket.gids)]
    containers = [" ".join(filter(None, (one.project, one.service, one.label))) for one in socket.containers]
    where = f" in a container of {' or '.join(containers)}" if containers else ""
    return f"{' or '.join(users)}{where}"


def _print_needs(compiled: CompiledTemplate) -> None:
    for need in sorted(compiled.references, key=str):
        print(f"    {_reading(need)}{', optional' if need in compiled.optional else ''}")


def _reading(need: Need) -> str:
    match need:
        case Ref():
            return f"reads {need}"
        case Folder():
            return f"reads {need} (the folder)"
        case DynamicSecret():
            return f"requests {need}" + (", with a key generated here" if need.local_key else "")


def _notification(notify: Notify | None) -> str:
    """The notification, without a command's arguments and a URL's query, which may contain secrets."""
    if notify is None:
        return "nothing"
    match notify.target:
        case NameTarget(name):
            return f"{notify.action} to process {name}"
        case CmdlineTarget(pattern):
            return f"{notify.action} to the process whose command line has {pattern}"
        case PidFileTarget(path):
            return f"{notify.action} to the pid in {path}"
        case Child():
            return f"{notify.action} to the child of `lessee exec`"
        case ContainerTarget(service=service, name=name, label=label):
            which = f"service {service}" if service else f"container {name}" if name else f"label {label}"
            return f"{notify.action} to {which}"
        case CommandTarget(command):
            return f"the command {command[0]}"
        case HttpTarget(url=url, method=method):
            return f"{method} to {urlsplit(url).hostname}"
        case _:
            assert_never(notify.target)


def _probe(probe: Probe) -> str:
    match probe:
        case HttpProbe(url):
            return f"GET from {urlsplit(url).hostname}"
        case TcpProbe(address):
            return f"a connection to {address}"
        case TlsProbe(address, certificate):
            return f"{address}, which serves {certificate}"
        case CommandProbe(command):
            return f"the command {command[0]}"
        case FileProbe(path):
            return f"the file {path}"
        case _:
            assert_never(probe)
