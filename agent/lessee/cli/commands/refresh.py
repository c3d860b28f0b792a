"""`lessee refresh`: has a running agent check its secrets now."""

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lessee.cli.commands.status import socket_of
from lessee.core.errors import UsageError, VaultUnreachableError
from lessee.host.clock import wall_time
from lessee.status.client import known_format, request_status

_PATIENCE = 2.0
"""Seconds until a response of Vault is known. The agent does not ask for what it holds a lease of."""
_INTERVAL = 0.05


def run(arguments: argparse.Namespace) -> int:
    """Returns when Vault answers the agent again. What it answers is in the agent's log and status.

    Raises VaultUnreachableError: the agent checks the secrets once Vault is available.
    """
    socket = socket_of(arguments)
    # The status has milliseconds, and rounds down.
    asked_at = int(wall_time() * 1000) / 1000
    answer = request_status(socket, "POST", "/refresh", arguments.paths)
    with known_format(socket):
        unknown = ", ".join(answer["unknown"])
    if unknown:
        todo = "`lessee status` lists the paths that templates read"
        raise UsageError(f"no template reads {unknown}", todo=todo)
    _wait_for_vault(socket, arguments.paths, asked_at)
    print("checking " + (", ".join(arguments.paths) or "all secrets"))
    return 0


def _wait_for_vault(socket: Path, paths: Sequence[str], asked_at: float) -> None:
    """Until each Vault that these secrets come from has answered since. Raises VaultUnreachableError."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        status = request_status(socket, "GET", "/status.json")
        with known_format(socket):
            vaults = list(_vaults(status, paths))
            away = [vault for vault in vaults if not vault["reachable"]]
            has_answered = all(_has_answered(vault, asked_at) for vault in vaults)
        if away:
            reason = next((line for line in status["problems"] if " is unavailable: " in line), "")
            reason = reason.partition(" is unavailable: ")[2].partition(";")[0] or "it has not answered yet"
            since = f" since {away[0]['since']}" if away[0]["since"] else ""
            raise VaultUnreachableError(
                f"nothing is checked, because Vault is unavailable{since}: {reason}",
                where=str(away[0]["address"]),
                todo="the agent checks all secrets once Vault answers; `lessee doctor` says what is wrong",
            )
        if has_answered:
            return
        time.sleep(_INTERVAL)


def _vaults(status: Mapping[str, Any], paths: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    if not paths:
        return [identity["vault"] for identity in status["identities"]]
    apps = {
        name
        for name, app in status["apps"].items()
        if any(f"/{secret['path']}".endswith(f"/{path}") for secret in app["secrets"] for path in paths)
    }
    return [identity["vault"] for identity in status["identities"] if apps.intersection(identity["apps"])]


def _has_answered(vault: Mapping[str, Any], asked_at: float) -> bool:
    # With a time of the next try, an outage is suspected.
    if vault["next_retry_at"] is not None or vault["since"] is None:
        return False
    return datetime.fromisoformat(vault["since"]).timestamp() >= asked_at
