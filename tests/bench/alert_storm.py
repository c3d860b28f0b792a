"""Counts the messages of `lessee monitor` about a storm of denials, and about its first start on a log of a year."""

import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from figures import Figure
from rig import MEMORY, TIMEOUT, report

from support.programs.monitor import Audited, Monitor
from support.servers.alert_receivers import Hook

CLIENTS, DENIALS, MINUTE = 100, 100, 60.0
"""Clients, denials of each, and the seconds that all take."""
MOST_MESSAGES = 5
POLICIES, POLICY = 40, 'path "secret/data/none" { capabilities = ["read"] }'
YEAR = 365 * 86400.0
RESOLVE_TIMEOUT = 60
"""Seconds; less than the default, so that the end of the alert is measured soon."""


def measure() -> Iterator[Figure]:
    for part in (_storm, _first_start):
        with (
            tempfile.TemporaryDirectory(prefix="lessee-storm-") as folder,
            tempfile.TemporaryDirectory(dir=MEMORY) as memory,
            Audited(Path(folder)) as bao,
            Hook() as hook,
        ):
            yield from part(bao, hook, Path(folder), Path(memory))


def _monitor(bao: Audited, hook: Hook, disk: Path, memory: Path, **block: Any) -> Monitor:
    alerts = {"webhook": hook.url, "consecutive_denials": 5, "reads_per_hour": 100, **block}
    monitor = Monitor(disk / "lessee", memory, {"file": str(bao.audit)}, alerts=alerts)
    del monitor.config["monitor"]["start_at"]
    return monitor


def _storm(bao: Audited, hook: Hook, disk: Path, memory: Path) -> Iterator[Figure]:
    body = {"policies": ["default"], "ttl": "1h"}
    tokens = [
        bao.ask("POST", "auth/token/create", {**body, "display_name": f"storm-{number}"})["auth"]["client_token"]
        for number in range(CLIENTS)
    ]
    with _monitor(bao, hook, disk, memory, resolve_timeout=f"{RESOLVE_TIMEOUT}s") as monitor:
        monitor.start().until(lambda status: status["ready"])
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            denied = sum(pool.map(lambda token: _denials(bao.port, token), tokens))
        took = time.monotonic() - began
        wanted = CLIENTS * (DENIALS - 4)
        monitor.until(lambda status: _counted(status) == wanted, TIMEOUT)
        subjects = {name for one in monitor.status()["alerts"] for name in one["subjects"]}
        monitor.until(lambda status: not any(one["firing"] for one in status["alerts"]), TIMEOUT + RESOLVE_TIMEOUT)
        monitor.until(lambda status: not status["delivery"]["webhook"]["pending"], TIMEOUT)
    states = [alert["state"] for alert in hook.alerts()]
    report(f"{denied:,} denials in {took:.0f} s: {states}")
    name = f"{denied:,} denials by {CLIENTS} clients in {took:.0f} s: messages sent until the alert is resolved"
    is_whole = denied == CLIENTS * DENIALS and len(subjects) == CLIENTS
    messages = len(hook.requests)
    yield Figure(name, "", f"{messages}", f"≤ {MOST_MESSAGES}", is_whole and 2 <= messages <= MOST_MESSAGES)


def _denials(port: int, token: str) -> int:
    """The requests of one client that the server denied."""
    denied = 0
    with closing(HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        for number in range(DENIALS):
            connection.request("GET", f"/v1/secret/data/none/{number}", headers={"X-Vault-Token": token})
            response = connection.getresponse()
            response.read()
            denied += response.status == 403
            time.sleep(MINUTE / DENIALS)
    return denied


def _counted(status: dict[str, Any]) -> int:
    return sum(alert["count"] for alert in status["alerts"] if alert["rule"] == "consecutive-denials")


def _first_start(bao: Audited, hook: Hook, disk: Path, memory: Path) -> Iterator[Figure]:
    for number in range(POLICIES):
        bao.ask("PUT", f"sys/policies/acl/year-{number}", {"policy": POLICY})
    lines = bao.audit.read_text().splitlines()
    began, step = time.time() - YEAR, YEAR / len(lines)
    old = disk / "year.log"
    with old.open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            at = datetime.fromtimestamp(began + number * step, UTC).isoformat().replace("+00:00", "Z")
            file.write(json.dumps({**json.loads(line), "time": at}, separators=(",", ":")) + "\n")
    for name, arguments in {"at its end": (), "at its begin, with --since": ("--since", "400d")}.items():
        with _monitor(bao, hook, disk, memory) as monitor:
            monitor.config["monitor"] |= {
                "audit": {"file": str(old)},
                "state_dir": str(disk / f"state-{len(arguments)}"),
            }
            before = len(hook.alerts())
            result = monitor.once(*arguments)
        alerts = len(hook.alerts()) - before
        report(f"first start {name}: {alerts} alerts, exit code {result.returncode}")
        is_met = result.returncode == 0 and alerts == len(arguments) // 2
        yield Figure(f"first start on a log of a year, {name}: alerts sent", "", f"{alerts}", "≤ 1", is_met)
