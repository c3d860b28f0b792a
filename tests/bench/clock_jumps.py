"""Checks renewals while the wall clock jumps by a day."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from database import audited_requests, database, template
from figures import Figure
from rig import Program, Rig, report

TTL = 30
WINDOW = 60.0
DAY = 86400.0
JUMPS = (DAY, -DAY)
"""Seconds by which the clock is wrong in the second and in the last third of the window."""
EARLIEST, LATEST = 0.5 * TTL, 0.7 * TTL
"""Seconds after its issue or renewal between which the agent must renew a lease."""
SLACK = 1.0


def measure() -> Iterator[Figure]:
    """Measure lessee alone; libfaketime has no effect on the peer, a static program."""
    library = _find_library()
    if library is None:
        report("clock_jumps: skipped, because `faketime` is not installed; run: apt install faketime")
        return
    with database() as (bench, postgres):
        postgres.attach(bench.bao, default_ttl=f"{TTL}s", max_ttl="1h")
        program = bench.lessee_for({"files": ({"db.txt": template("simba")}, None)})
        clock = program.folder / "clock"
        program.environ |= {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",  # a killed program would leave a segment
            # CLOCK_BOOTTIME is one of these; a jump of the wall clock does not change it.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        gaps = _gaps(bench, program, clock)
    # The end of the window cuts off the last gap.
    spurious = sum(gap < EARLIEST - SLACK for gap in gaps[:-1])
    missed = sum(gap > LATEST + SLACK for gap in gaps)
    yield Figure(
        f"wall clock a day ahead, then a day behind, within {WINDOW:.0f} s, ttl {TTL} s: "
        f"spurious / missed of {len(gaps) - 1} renewals",
        "",
        f"{spurious} / {missed}",
        "0 / 0",
        not spurious and not missed,
    )


def _find_library() -> str | None:
    """The library that `faketime` preloads."""
    if shutil.which("faketime") is None:
        return None
    printed = subprocess.run(
        ["faketime", "-f", "+0d", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    )
    return printed.stdout.strip()


def _gaps(bench: Rig, program: Program, clock: Path) -> list[float]:
    """Seconds on the server's clock between the issue, each renewal and the end of the window."""
    clock.write_text("+0")
    with program:
        program.wait_for_files()
        for jump in JUMPS:
            time.sleep(WINDOW / 3)
            clock.write_text(f"{jump:+.0f}")
            program.until(lambda jump=jump: _is_wrong_by(program, jump), "the jump")
        time.sleep(WINDOW / 3)
    requests = [*audited_requests(bench, "database/creds/simba"), *audited_requests(bench, "sys/leases/renew")]
    times = [*sorted(request.at for request in requests), time.time()]
    gaps = [after - before for before, after in pairwise(times)]
    report(f"clock_jumps: {[round(gap, 1) for gap in gaps]} s")
    return gaps


def _is_wrong_by(program: Program, seconds: float) -> bool:
    """Whether the agent's wall clock is wrong by these seconds: status.json reports the lease's end by it."""
    (lease,) = program.wait_for_status()["leases"]
    wall = datetime.fromisoformat(lease["expires_at"]).timestamp() - lease["expires_in"]
    return abs(wall - time.time() - seconds) < SLACK
