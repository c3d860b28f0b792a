"""Checks an agent that SIGSTOP suspended until its lease had expired."""

import os
import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

from database import audited_requests, credentials, database, format_seconds, peer_template, seconds_until, template
from figures import Figure
from rig import Program, Rig, report

from support.servers.postgres import Postgres

TIMES = 3
TTL = 10
SUSPENDED = 2.0 * TTL
SETTLE = 1.0
CAP = 60.0
"""Seconds after which the benchmark stops waiting."""
LOGGED = 1.0
_EXPIRED = b'"event": "lease expired"'


class _Seen(NamedTuple):
    """Seconds since SIGCONT, or None after CAP, and renewals of expired leases."""

    logged: float | None
    working: float | None
    renewals: int


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.attach(bench.bao, default_ttl=f"{TTL}s", max_ttl="1h")
        peer = bench.peer_for({"db.txt": peer_template("simba")})
        lessee = bench.lessee_for({"files": ({"db.txt": template("simba")}, None)})
        theirs, ours = (_stop_repeatedly(bench, postgres, program) for program in (peer, lessee))
    name = f"SIGSTOP for {SUSPENDED:.0f} s, TTL {TTL} s, {TIMES} times"
    soon = ours.logged is not None and ours.logged <= LOGGED
    yield Figure(f"{name}: SIGCONT → `lease expired` is logged", "", format_seconds(ours.logged, CAP), "≤ 1 s", soon)
    yield Figure(
        f"{name}: SIGCONT → new credentials work",
        format_seconds(theirs.working, CAP),
        format_seconds(ours.working, CAP),
    )
    renewals = str(theirs.renewals), str(ours.renewals)
    yield Figure(f"{name}: renewals of expired leases", *renewals, "0", not ours.renewals)


def _stop_repeatedly(bench: Rig, postgres: Postgres, program: Program) -> _Seen:
    """The longest times, and the sum of renewals."""
    with program:
        program.wait_for_files()
        seen = [_stop(bench, postgres, program) for _ in range(TIMES)]
    report(f"{program.folder.name}: {seen}")
    logged, working, renewals = zip(*seen, strict=True)
    return _Seen(_longest(logged), _longest(working), sum(renewals))


def _stop(bench: Rig, postgres: Postgres, program: Program) -> _Seen:
    file = program.directory / "db.txt"
    time.sleep(SETTLE)
    before, offset = credentials(file), program.log.stat().st_size
    os.kill(program.pid, signal.SIGSTOP)
    time.sleep(SUSPENDED)
    renewals = len(audited_requests(bench, "sys/leases/renew"))
    os.kill(program.pid, signal.SIGCONT)
    since = time.monotonic()
    logged = None

    def works() -> bool:
        nonlocal logged
        if logged is None and _EXPIRED in program.log.read_bytes()[offset:]:
            logged = time.monotonic() - since
        now = credentials(file)
        return bool(now) and now != before and postgres.can_log_in(*now)

    working = seconds_until(works, since, CAP)
    return _Seen(logged, working, len(audited_requests(bench, "sys/leases/renew")) - renewals)


def _longest(times: tuple[float | None, ...]) -> float | None:
    return None if None in times else max(times)
