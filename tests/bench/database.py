"""What benchmarks of leases share: a PostgreSQL whose users OpenBao makes, and what its audit log tells of them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rig import LOOK, Program, Rig, rig

from lessee.core.errors import LesseeError
from lessee.status.server import ask
from support.servers.postgres import Postgres, find_initdb

_LESSEE = '{%% set db = dynamic("database/creds/%s") %%}{{ db.username }} {{ db.password }}\n'
_PEER = '{{ with secret "database/creds/%s" }}{{ .Data.username }} {{ .Data.password }}{{ end }}\n'


class Request(NamedTuple):
    """What the server was asked. `at` in seconds since 1970, by the server's clock."""

    at: float
    path: str
    error: str
    """Empty where it was granted."""


@contextmanager
def database() -> Iterator[tuple[Rig, Postgres]]:
    """A server that is audited, and a PostgreSQL to attach to it. Raises LesseeError where there is none."""
    if find_initdb() is None:
        raise LesseeError("there is no PostgreSQL", todo="apt install postgresql")
    with rig(audited=True) as bench, Postgres(bench.folder) as postgres:
        yield bench, postgres


def template(role: str) -> str:
    """Lessee's template of a file with a name and a password."""
    return _LESSEE % role


def peer_template(role: str) -> str:
    """The peer's template of the same file."""
    return _PEER % role


def credentials(file: Path) -> list[str]:
    """The name and the password in a file; empty where it is not there."""
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []


def answered(bench: Rig, path: str) -> list[Request]:
    """What the server has been asked on this path and below, by anybody, in the order of its answers."""
    found = []
    with bench.audit.open() as log:
        for line in log:
            if path in line and '"type":"response"' in line:
                entry = json.loads(line)
                asked = entry["request"]["path"]
                if asked.startswith(path):
                    at = datetime.fromisoformat(entry["time"]).timestamp()
                    found.append(Request(at, asked, entry.get("error", "")))
    return found


def made(bench: Rig, role: str) -> int:
    """How many users of this role the server has made."""
    return sum(not request.error for request in answered(bench, f"database/creds/{role}"))


def is_fresh(program: Program) -> bool:
    """Whether lessee says so."""
    return bool(ask(program.socket, "GET", "/status.json")["fresh"])


def seconds_until(condition: Callable[[], object], since: float, cap: float) -> float | None:
    """Wait for a condition; how long after `since` on the monotonic clock it was true. None: not within the cap."""
    while not condition():
        if time.monotonic() - since > cap:
            return None
        time.sleep(LOOK)
    return time.monotonic() - since


def told(seconds: float | None, cap: float) -> str:
    """What `seconds_until` gave, for the table."""
    return f"> {cap:.0f} s" if seconds is None else f"{seconds:.2f} s"
