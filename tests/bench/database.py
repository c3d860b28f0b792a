"""Shared by the benchmarks of leases: a PostgreSQL whose users OpenBao creates, and the requests in its audit log."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rig import CHECK_INTERVAL, Program, Rig, rig

from lessee.core.errors import LesseeError
from lessee.status.client import request_status
from support.servers.postgres import Postgres, find_initdb

_LESSEE = '{%% set db = dynamic("database/creds/%s") %%}{{ db.username }} {{ db.password }}\n'
_PEER = '{{ with secret "database/creds/%s" }}{{ .Data.username }} {{ .Data.password }}{{ end }}\n'


class Request(NamedTuple):
    """A request to the server. `at`: seconds since 1970 on the server's clock."""

    at: float
    path: str
    error: str
    """Empty if it succeeded."""


@contextmanager
def database() -> Iterator[tuple[Rig, Postgres]]:
    """A server with an audit log, and a PostgreSQL to attach to it. Raises LesseeError if none is installed."""
    if find_initdb() is None:
        raise LesseeError("PostgreSQL not found", todo="run: apt install postgresql")
    with rig(audited=True) as bench, Postgres(bench.folder) as postgres:
        yield bench, postgres


def template(role: str) -> str:
    """Lessee's template of a file with a user name and a password."""
    return _LESSEE % role


def peer_template(role: str) -> str:
    """The peer's template of the same file."""
    return _PEER % role


def credentials(file: Path) -> list[str]:
    """The user name and the password in a file; empty if it does not exist."""
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []


def audited_requests(bench: Rig, path: str) -> list[Request]:
    """All clients' requests for this path and below, in the order of the responses."""
    found = []
    with bench.audit.open() as log:
        for line in log:
            if path in line and '"type":"response"' in line:
                entry = json.loads(line)
                requested = entry["request"]["path"]
                if requested.startswith(path):
                    at = datetime.fromisoformat(entry["time"]).timestamp()
                    found.append(Request(at, requested, entry.get("error", "")))
    return found


def count_issued_users(bench: Rig, role: str) -> int:
    """How many users of this role the server has issued."""
    return sum(not request.error for request in audited_requests(bench, f"database/creds/{role}"))


def is_fresh(program: Program) -> bool:
    """Whether lessee's status reports that all is fresh."""
    return bool(request_status(program.socket, "GET", "/status.json")["fresh"])


def seconds_until(condition: Callable[[], object], since: float, cap: float) -> float | None:
    """Wait for a condition. Returns the seconds after `since`, on the monotonic clock; None after `cap` seconds."""
    while not condition():
        if time.monotonic() - since > cap:
            return None
        time.sleep(CHECK_INTERVAL)
    return time.monotonic() - since


def format_seconds(seconds: float | None, cap: float) -> str:
    """The result of `seconds_until` as a cell of the table."""
    return f"> {cap:.0f} s" if seconds is None else f"{seconds:.2f} s"
