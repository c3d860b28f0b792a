"""`lessee status`: prints the status of a running agent, rotator, monitor or issuer."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lessee.core.errors import AgentUnavailableError, UsageError
from lessee.core.printable import spelled_out
from lessee.host.clock import wall_time
from lessee.host.project import find, read
from lessee.status.client import known_format, request_status

_SERVICES = ("rotator.sock", "monitor.sock", "issuer.sock")


def run(arguments: argparse.Namespace) -> int:
    """Exits with 0 if every app has its files and none has ended, or the service is ready; otherwise with 1.

    Next to an agent, it prints the status of the rotator and the monitor with the same configuration too.
    """
    socket, *services = sockets_of(arguments)
    if arguments.watch:
        # Imported only for --watch.
        from lessee.cli.commands.status_watch import watch

        return watch(socket)
    if arguments.wait is not None:
        # Imported only for --wait.
        from lessee.cli.commands.status_wait import wait

        return wait(socket, arguments.wait)
    if arguments.output is not None:
        return _print_output(socket, arguments.output)
    agent_error, code = None, 0
    try:
        code = _print_status_of(socket, as_json=arguments.json)
    except AgentUnavailableError as exc:
        if not services:
            raise
        agent_error = exc
    if arguments.json:
        services = []
    for number, service in enumerate(services):
        if number or agent_error is None:
            print()
        code = max(code, _print_service(service))
    if agent_error is not None:
        raise _with_hint(agent_error, sockets_of(arguments)[1:])
    return code


def _print_status_of(socket: Path, *, as_json: bool) -> int:
    status = request_status(socket, "GET", "/status.json")
    with known_format(socket):
        return max(_print_status(status, as_json=as_json), int(bool(_ended(status))))


def _print_service(socket: Path) -> int:
    """Print the status of a service next to the agent. One that does not answer is a problem, and no error."""
    try:
        return _print_status_of(socket, as_json=False)
    except AgentUnavailableError as exc:
        _print_line(f"! lessee {socket.stem} does not answer at {socket}: {exc.what}")
        return 1


def _with_hint(error: AgentUnavailableError, services: Sequence[Path]) -> AgentUnavailableError:
    named = " or ".join(f"`lessee status --socket {service}`" for service in services)
    return AgentUnavailableError(error.what, where=error.where, todo=f"{error.todo}; of the service here: {named}")


def _print_output(socket: Path, owner: str) -> int:
    """Print the text that the log leaves out, to the operator and to no file. Raises UsageError."""
    if not sys.stdout.isatty():
        what = "it may hold a secret value, so it is printed only to a terminal"
        raise UsageError(what, where="--output", todo="run it at a terminal, in a container with `docker exec -it`")
    with known_format(socket):
        outputs = request_status(socket, "GET", f"/output?{urlencode({'of': owner})}")["outputs"]
        for output in outputs:
            count = f"{output['line_count']} line{'' if output['line_count'] == 1 else 's'}"
            _print_line(f"{output['program']}  {output['ended_at']}  {output['result']}, {count}")
            for line in output["lines"]:
                _print_line(f"  {line}")
    if not outputs:
        _print_line(f"no program of {owner} has run since the start")
    return 0


def _print_status(status: Mapping[str, Any], *, as_json: bool) -> int:
    if not isinstance(status["version"], str) or not isinstance(status["ready"], bool):
        raise TypeError
    if as_json:
        print(json.dumps(status, indent=2))
    elif "apps" in status:
        _print(status)
    else:
        from lessee.status.pages.plain_text import lines
        from lessee.status.pages.views import build_view

        print("\n".join(lines(build_view(status, wall_time()))))
    return 0 if status["ready"] else 1


def _ended(status: Mapping[str, Any]) -> list[str]:
    """The apps whose processes ended after a notification, and are not back."""
    return [name for name, app in status.get("apps", {}).items() if app.get("ended_at")]


def socket_of(arguments: argparse.Namespace) -> Path:
    """The first of `sockets_of`."""
    return sockets_of(arguments)[0]


def sockets_of(arguments: argparse.Namespace) -> list[Path]:
    """The status socket of the configuration's agent, and those of the services that run next to it.

    Without apps: that of the service that runs. Raises UsageError if several services run.
    """
    if arguments.socket is not None:
        return [Path(arguments.socket)]
    environ = dict(os.environ)
    config = read(find(arguments.config, environ), environ)
    configured, state = Path(config.status.socket), Path(config.state_dir)
    services = [state / name for name in _SERVICES if (state / name).exists()]
    if config.apps:
        return [configured, *(service for service in services if service != configured)]
    if configured != state / "status.sock":
        return [configured]
    if len(services) > 1:
        raise UsageError(f"several services run here: {', '.join(map(str, services))}", todo="name one with --socket")
    return services or [configured]


def _print(status: Mapping[str, Any]) -> None:
    ready = "ready" if status["ready"] else "NOT READY"
    if ended := _ended(status):
        ready += f", {', '.join(ended)} ENDED, NOT BACK"
    _print_line(f"lessee {status['version']}  {status['environment'] or ''}  {ready}{', fresh' * status['fresh']}")
    identities = status["identities"]
    for identity in identities:
        _print_identity(identity, alone=len(identities) == 1)
    leases = {lease["path"]: lease for lease in status["leases"] if lease["state"] != "retiring"}
    for name, app in status["apps"].items():
        number, published_at = app["generation"] or "-", app["published_at"] or "-"
        degraded = f"DEGRADED ({app['degraded']})  " if app["degraded"] else ""
        ended_at = f"ENDED, NOT BACK since {app['ended_at']}  " if app.get("ended_at") else ""
        _print_line(f"{name}  {app['state']}  {ended_at}{degraded}generation {number}  since {published_at}")
        for secret in app["secrets"]:
            _print_secret(secret, leases.get(secret["path"]))
        if app["notify"]["pending"]:
            _print_line("  notification pending")
        if app["drift"]["total"]:
            from lessee.status.pages.agent import drift_text

            _print_line(f"  {drift_text(app)}")
    if sandbox := status.get("sandbox"):
        from lessee.agent.sandbox import describe

        print(describe(sandbox))
    for problem in status["problems"]:
        _print_line(f"! {problem}")


def _print_identity(identity: Mapping[str, Any], *, alone: bool) -> None:
    vault, token = identity["vault"], identity["token"]
    reached = "reachable" if vault["reachable"] else f"UNAVAILABLE since {vault['since'] or 'the start'}"
    apps = "" if alone else f"  for {', '.join(identity['apps']) or 'no app'}"
    what = f"source {source}" if (source := identity.get("source")) else "vault"
    _print_line(f"{what}  {vault['address']}  {reached}{apps}")
    if token:
        _print_line(f"token  accessor {token['accessor'] or 'unknown'}  until {token['expires_at'] or 'revoked'}")
    if revoked := identity.get("revoked_login"):
        from lessee.status.pages.agent import revocation_text

        _print_line(f"login  {revocation_text(revoked)}")


def _print_secret(secret: Mapping[str, Any], lease: Mapping[str, Any] | None) -> None:
    version = f" v{secret['version']}" if secret["version"] else ""
    until = ""
    if lease is not None and lease["expires_at"]:
        until = f"  {'EXPIRED' if lease['state'] == 'expired' else 'until'} {lease['expires_at']}"
    error = f"  {secret['error']}" if secret["error"] else ""
    _print_line(f"  {secret['path']}{version}{until}{error}")


def _print_line(text: str) -> None:
    print(spelled_out(text))
