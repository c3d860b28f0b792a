"""`lessee dev`: runs, shows, stops, resets and copies a server for development."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from lessee.core.errors import LesseeError, UsageError, WriteError
from lessee.host.console import escape_unknown
from lessee.host.openbao import find_bao
from lessee.ops.backup import server as backup_server
from lessee.ops.backup.secret_reader import folders
from lessee.ops.dev.command import copying, start
from lessee.ops.dev.command.messages import confirm
from lessee.ops.dev.folder import LOG, TOKEN, DevFolder, FolderMissingError, default_folder
from lessee.ops.dev.policy.exports import export_lines
from lessee.ops.dev.policy.server_config import CA
from lessee.ops.dev.server import (
    DevServer,
    address_of,
    client_of,
    ensure_token,
    is_ready,
    is_running,
    listen_of,
    port_of,
    stop,
)
from lessee.process.hardening import harden

_NOT_RUNNING = 1


def run(arguments: argparse.Namespace) -> int:
    """0 on success; --status returns 1 where no server runs; 75 where something is left to a person."""
    escape_unknown()
    harden()
    environ = dict(os.environ)
    path = Path(arguments.directory) if arguments.directory else default_folder(environ)
    _check(arguments)
    if arguments.export or arguments.status or arguments.stop or arguments.reset or arguments.to:
        return _look(arguments, path, environ)
    return start.run(arguments, path, environ)


def _check(arguments: argparse.Namespace) -> None:
    of_copy = ("plan", "force", "token_file", "ca_file", "namespace")
    for name in of_copy if arguments.to is None else ():
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} has no effect without --to", todo="omit it, or add --to URL")
    if arguments.listen and (arguments.export or arguments.status or arguments.stop or arguments.reset or arguments.to):
        raise UsageError("--listen has an effect at a start alone", todo="omit it, or use it with --detach")
    if arguments.yes and not (arguments.to or arguments.reset):
        raise UsageError("--yes has no effect without --to or --reset", todo="omit it")


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
            print("stopped; its data stay" if stop(folder) else "it does not run")
            return 0
        if arguments.reset:
            return _reset(arguments, folder)
        _require_running(folder)
        ensure_token(folder)
        if arguments.export:
            files = (str(folder.path / CA), str(folder.path / TOKEN))
            print(*export_lines(address_of(port_of(folder)), *files, environ), sep="\n")
            return 0
        return copying.run(arguments, folder, environ)


def _require_running(folder: DevFolder) -> None:
    if folder.is_held() and not is_ready(folder):
        raise FolderMissingError("the server is not ready", where=str(folder.path / LOG), todo="see the end of its log")
    if not folder.is_held():
        raise FolderMissingError("the server does not run", where=str(folder.path), todo="start it with `lessee dev`")


def _status(folder: DevFolder) -> int:
    holder, is_ready = folder.holder(), is_running(folder)
    state = "running" if is_ready else "not ready; see openbao.log" if folder.is_held() else "not running"
    process = f", process {holder.pid}" if holder else ""
    print(f"{state}{process}")
    if is_ready:
        print(f"  address  {address_of(port_of(folder))}")
        for line in start.listen_lines(listen_of(folder), port_of(folder)):
            print(f"  {line}")
    print(f"  folder   {folder.path} ({folder.size():,} bytes of data)")
    print(f"  token    {folder.path / TOKEN}")
    print(f"  CA       {folder.path / CA}")
    return 0 if is_ready else _NOT_RUNNING


def _reset(arguments: argparse.Namespace, folder: DevFolder) -> int:
    print(f"this removes all that the server in {folder.path} holds, forever: {_contents(folder)}", flush=True)
    if not arguments.yes:
        confirm("reset", "removed")
    if not folder.is_taken:
        stop(folder)
    if not (folder.is_taken or folder.take()):
        raise WriteError("another process has just started it", where=str(folder.path), todo="run it again")
    folder.clear()
    print("reset: the next `lessee dev` begins with an empty server")
    return 0


def _contents(folder: DevFolder) -> str:
    """What would be lost. A server that does not run is started for the question, and for no other client."""
    size = f"{folder.size():,} bytes of data with keys"
    try:
        if is_running(folder):
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
