"""What an agent does that was stopped, as a suspension does it, until its lease had ended."""

import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

from database import audited_requests, credentials, database, format_seconds, peer_template, seconds_until, template
from rig import Figure, Program, Rig, report

from support.servers.postgres import Postgres

TIMES = 3
TTL = 10
STOPPED = 2.0 * TTL
SETTLE = 1.0
CAP = 60.0
"""Seconds after which nobody waits any longer."""
NOTICED = 1.0
_ENDED = b'"event": "lease expired"'


class _Seen(NamedTuple):
    """Seconds since it was continued, None where they were more than CAP, and renewals of what had ended."""

    noticed: float | None
    working: float | None
    renewals: int


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.attach(bench.bao, default_ttl=f"{TTL}s", max_ttl="1h")
        peer = bench.peer_for({"db.txt": peer_template("simba")})
        lessee = bench.lessee_for({"files": ({"db.txt": template("simba")}, None)})
        theirs, ours = (_stop_often(bench, postgres, program) for program in (peer, lessee))
    name = f"stopped for {STOPPED:.0f} s with a ttl of {TTL} s, {TIMES} times"
    soon = ours.noticed is not None and ours.noticed <= NOTICED
    yield Figure(
        f"{name}: continued → the end of the lease is logged", "", format_seconds(ours.noticed, CAP), "≤ 1 s", soon
    )
    yield Figure(
        f"{name}: continued → new credentials work",
        format_seconds(theirs.working, CAP),
        format_seconds(ours.working, CAP),
    )
    renewals = str(theirs.renewals), str(ours.renewals)
    yield Figure(f"{name}: renewals of what had ended", *renewals, "0", not ours.renewals)


def _stop_often(bench: Rig, postgres: Postgres, program: Program) -> _Seen:
    """The longest times, and all renewals."""
    with program:
        program.wait_for_files()
        seen = [_stop(bench, postgres, program) for _ in range(TIMES)]
    report(f"{program.folder.name}: {seen}")
    noticed, working, renewals = zip(*seen, strict=True)
    return _Seen(_longest(noticed), _longest(working), sum(renewals))


def _stop(bench: Rig, postgres: Postgres, program: Program) -> _Seen:
    file = program.directory / "db.txt"
    time.sleep(SETTLE)
    before, logged = credentials(file), program.log.stat().st_size
    program.process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED)
    asked = len(audited_requests(bench, "sys/leases/renew"))
    program.process.send_signal(signal.SIGCONT)
    since = time.monotonic()
    noticed = None

    def works() -> bool:
        nonlocal noticed
        if noticed is None and _ENDED in program.log.read_bytes()[logged:]:
            noticed = time.monotonic() - since
        now = credentials(file)
        return bool(now) and now != before and postgres.can_log_in(*now)

    working = seconds_until(works, since, CAP)
    return _Seen(noticed, working, len(audited_requests(bench, "sys/leases/renew")) - asked)


def _longest(times: tuple[float | None, ...]) -> float | None:
    return None if None in times else max(times)
