"""`lessee status`: prints the status of a running agent, rotator or monitor."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lessee.core.errors import UsageError
from lessee.host.clock import wall_time
from lessee.host.project import find, read
from lessee.status.client import known_format, request_status

_SERVICES = ("rotator.sock", "monitor.sock")


def run(arguments: argparse.Namespace) -> int:
    """Exits with 0 if every app has its files, or the service is ready; otherwise with 1."""
    socket = socket_of(arguments)
    if arguments.watch:
        # Imported only for --watch.
        from lessee.cli.commands.status_watch import watch

        return watch(socket)
    status = request_status(socket, "GET", "/status.json")
    with known_format(socket):
        return _print_status(status, as_json=arguments.json)


def _print_status(status: Mapping[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(status, indent=2))
    elif "apps" in status:
        _print(status)
    else:
        from lessee.status.pages.plain_text import lines
        from lessee.status.pages.views import build_view

        print("\n".join(lines(build_view(status, wall_time()))))
    return 0 if status["ready"] else 1


def socket_of(arguments: argparse.Namespace) -> Path:
    """The status socket of the configuration's agent or, without apps, of the service that runs.

    Raises UsageError if several services run.
    """
    if arguments.socket is not None:
        return Path(arguments.socket)
    environ = dict(os.environ)
    config = read(find(arguments.config, environ), environ)
    configured, state = Path(config.status.socket), Path(config.state_dir)
    if config.apps or configured != state / "status.sock":
        return configured
    sockets = [state / name for name in _SERVICES if (state / name).exists()]
    if len(sockets) > 1:
        raise UsageError(f"several services run here: {', '.join(map(str, sockets))}", todo="name one with --socket")
    return sockets[0] if sockets else configured


def _print(status: Mapping[str, Any]) -> None:
    ready = "ready" if status["ready"] else "NOT READY"
    print(f"lessee {status['version']}  {status['environment'] or ''}  {ready}{', fresh' * status['fresh']}")
    identities = status["identities"]
    for identity in identities:
        _print_identity(identity, alone=len(identities) == 1)
    leases = {lease["path"]: lease for lease in status["leases"] if lease["state"] != "retiring"}
    for name, app in status["apps"].items():
        number, published_at = app["generation"] or "-", app["published_at"] or "-"
        degraded = f"DEGRADED ({app['degraded']})  " if app["degraded"] else ""
        print(f"{name}  {app['state']}  {degraded}generation {number}  since {published_at}")
        for secret in app["secrets"]:
            _print_secret(secret, leases.get(secret["path"]))
        if app["notify"]["pending"]:
            print("  notification pending")
    if sandbox := status.get("sandbox"):
        from lessee.agent.sandbox import describe

        print(describe(sandbox))
    for problem in status["problems"]:
        print(f"! {problem}")


def _print_identity(identity: Mapping[str, Any], *, alone: bool) -> None:
    vault, token = identity["vault"], identity["token"]
    reached = "reachable" if vault["reachable"] else f"UNAVAILABLE since {vault['since'] or 'the start'}"
    apps = "" if alone else f"  for {', '.join(identity['apps']) or 'no app'}"
    print(f"vault  {vault['address']}  {reached}{apps}")
    if token:
        print(f"token  {token['accessor'] or 'without accessor'}  until {token['expires_at'] or 'revoked'}")


def _print_secret(secret: Mapping[str, Any], lease: Mapping[str, Any] | None) -> None:
    version = f" v{secret['version']}" if secret["version"] else ""
    until = ""
    if lease is not None and lease["expires_at"]:
        until = f"  {'EXPIRED' if lease['state'] == 'expired' else 'until'} {lease['expires_at']}"
    error = f"  {secret['error']}" if secret["error"] else ""
    print(f"  {secret['path']}{version}{until}{error}")
