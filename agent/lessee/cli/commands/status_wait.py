"""`lessee status --wait`: returns once each app works with the newest secrets, or says which one does not, and why."""

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lessee.core.errors import AgentUnavailableError
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import spelled_out
from lessee.host.clock import wall_time
from lessee.status.client import known_format, request_status

_INTERVAL = 0.2
"""Seconds between two requests."""
_DONE = {
    "published": "has the newest secrets",
    "notified": "was notified of the newest secrets",
    "ready": "is ready with the newest secrets",
}
"""What an app's state proves. Only a probe, `ready`, proves that the app uses them."""
_FAILED = frozenset({"rejected", "rolled_back"})


class _Progress(ImmutableStruct, frozen=True):
    text: str
    done: bool = False
    failed: bool = False


def wait(socket: Path, timeout: float) -> int:
    """0 once each app works with what Vault has now; 1 as soon as one failed, or after `timeout` seconds.

    It waits for an agent that does not answer yet, as after its start.
    """
    deadline = time.monotonic() + timeout
    asked_at, said = 0.0, set[str]()
    while True:
        found: Mapping[str, _Progress] = {}
        try:
            status = request_status(socket, "GET", "/status.json")
            with known_format(socket):
                if not asked_at and "apps" in status:
                    # The status has milliseconds, and rounds down.
                    asked_at = int(wall_time() * 1000) / 1000
                    request_status(socket, "POST", "/refresh", [])
                    continue
                found = {name: _progress(app, asked_at) for name, app in status.get("apps", {}).items()}
                problems = [str(line) for line in status["problems"]]
                is_done = status["ready"] and status.get("fresh", True) and all(one.done for one in found.values())
        except AgentUnavailableError as exc:
            # An agent that starts in its place has not been asked.
            asked_at, problems, is_done = 0.0, [f"{exc.where}: {exc.what}"], False
        _say({name: one for name, one in found.items() if one.done or one.failed}, said)
        if is_done:
            return 0
        if any(one.failed for one in found.values()) or time.monotonic() > deadline:
            _say({name: one for name, one in found.items() if not one.done}, said)
            for line in problems:
                print(spelled_out(f"! {line}"))
            print(f"not ready after {timeout:g} s" if time.monotonic() > deadline else "not ready", flush=True)
            return 1
        time.sleep(_INTERVAL)


def _progress(app: Mapping[str, Any], asked_at: float) -> _Progress:
    state, readiness, notify = app["state"], app["readiness"] or {}, app["notify"]
    generation = f"generation {app['generation'] or '-'}"
    errors = [one["error"] for one in app["secrets"]]
    errors += [app["error"], notify["error"], readiness.get("error")]
    error = next((str(one) for one in errors if one), "")
    checked_at = app["last_checked_at"]
    if app["pending"] or (checked_at is not None and datetime.fromisoformat(checked_at).timestamp() < asked_at):
        return _Progress(f"NOT READY: {error or 'it has not read the newest secrets'}; it keeps {generation}")
    if state in _FAILED:
        return _Progress(f"NOT READY: {state}: {error or 'see its log'}; it keeps {generation}", failed=True)
    if state in _DONE and app["fresh"] and not notify["pending"] and not readiness.get("pending"):
        return _Progress(f"{_DONE[state]}, {generation}", done=True)
    return _Progress(f"NOT READY: {error or app['degraded'] or state}, {generation}")


def _say(found: Mapping[str, _Progress], said: set[str]) -> None:
    for name, one in found.items():
        line = spelled_out(f"{name} {one.text}" if one.done else f"{name}: {one.text}")
        if line not in said:
            said.add(line)
            print(line, flush=True)
