"""How many users a database has after its reader's agent was restarted."""

import re
import signal
import time
from collections.abc import Iterator

from database import database, peer_template, template
from rig import Figure, Program, tell

from support.servers.postgres import Postgres

RESTARTS = 5
SETTLE = 2.0
"""Seconds after the last start in which one more may still be made."""
_GOES_ON = re.compile(rb'"goes on with a lease"|"event": "issued"|rendered "')
"""What either program logs once it has credentials."""


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.attach(bench.bao)
        for number in (signal.SIGTERM, signal.SIGKILL):
            peer = _restart(bench.peer_for({"db.txt": peer_template("simba")}), postgres, number)
            lessee = _restart(bench.lessee_for({"files": ({"db.txt": template("simba")}, None)}), postgres, number)
            name = f"users in PostgreSQL after {RESTARTS} restarts by {number.name}"
            yield Figure(name, str(peer), str(lessee), "1", lessee == 1)


def _restart(program: Program, postgres: Postgres, number: signal.Signals) -> int:
    before = set(postgres.roles("v-%"))
    with program:
        program.wait_for_files()
        for _ in range(RESTARTS):
            program.end(number)
            said = _said(program)
            program.start()
            program.until(lambda said=said: _said(program) > said, "credentials")
        time.sleep(SETTLE)
        users = len(set(postgres.roles("v-%")) - before)
    tell(f"{program.folder.name}: {users} users after {RESTARTS} times {number.name}")
    return users


def _said(program: Program) -> int:
    return len(_GOES_ON.findall(program.log.read_bytes()))
