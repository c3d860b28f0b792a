"""Counts the users of a database after restarts of the agent that reads its credentials."""

import re
import signal
import time
from collections.abc import Iterator

from database import database, peer_template, template
from figures import Figure
from rig import Program, report

from support.servers.postgres import Postgres

RESTARTS = 5
SETTLE = 2.0
"""Seconds after the last start in which the agent could still issue another user."""
_HAS_CREDENTIALS = re.compile(rb'"reusing saved lease"|"event": "lease issued"|rendered "')
"""Log lines of both programs when they have credentials."""


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
            logged = _count_logged(program)
            program.start()
            program.until(lambda logged=logged: _count_logged(program) > logged, "credentials")
        time.sleep(SETTLE)
        users = len(set(postgres.roles("v-%")) - before)
    report(f"{program.folder.name}: {users} users after {RESTARTS} times {number.name}")
    return users


def _count_logged(program: Program) -> int:
    return len(_HAS_CREDENTIALS.findall(program.log.read_bytes()))
