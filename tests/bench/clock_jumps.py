"""What becomes of renewals when the wall clock jumps by a day, as one that is set late does."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from database import audited_requests, database, template
from rig import Figure, Program, Rig, report

TTL = 30
WINDOW = 60.0
DAY = 86400.0
JUMPS = (DAY, -DAY)
"""Seconds by which the clock is wrong in the second third of the window, and in the last."""
EARLIEST, LATEST = 0.5 * TTL, 0.7 * TTL
"""Seconds after it was issued or renewed in which a lease is to be renewed."""
SLACK = 1.0


def measure() -> Iterator[Figure]:
    """Lessee alone: the peer is a static program, which asks the kernel and not the library."""
    library = _find_library()
    if library is None:
        report("jumps: not measured, for want of `faketime`: apt install faketime")
        return
    with database() as (bench, postgres):
        postgres.attach(bench.bao, default_ttl=f"{TTL}s", max_ttl="1h")
        program = bench.lessee_for({"files": ({"db.txt": template("simba")}, None)})
        clock = program.folder / "clock"
        program.environ |= {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",  # a killed program would leave it behind
            # CLOCK_BOOTTIME is one of these: a jump of the wall clock leaves it alone.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        gaps = _gaps(bench, program, clock)
    # The last gap is one that the end of the window cut short.
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
    """What `faketime` has its programs preload."""
    if shutil.which("faketime") is None:
        return None
    asked = subprocess.run(
        ["faketime", "-f", "+0d", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    )
    return asked.stdout.strip()


def _gaps(bench: Rig, program: Program, clock: Path) -> list[float]:
    """Seconds, by the server's clock, between what it issued, each renewal, and the end of the window."""
    clock.write_text("+0")
    with program:
        program.wait_for_files()
        for jump in JUMPS:
            time.sleep(WINDOW / 3)
            clock.write_text(f"{jump:+.0f}")
            program.until(lambda jump=jump: _is_wrong_by(program, jump), "the jump")
        time.sleep(WINDOW / 3)
    asked = [*audited_requests(bench, "database/creds/simba"), *audited_requests(bench, "sys/leases/renew")]
    times = [*sorted(request.at for request in asked), time.time()]
    gaps = [after - before for before, after in pairwise(times)]
    report(f"jumps: {[round(gap, 1) for gap in gaps]} s")
    return gaps


def _is_wrong_by(program: Program, seconds: float) -> bool:
    """Whether the agent's wall clock is: status.json tells the lease's end by it."""
    (lease,) = program.wait_for_status()["leases"]
    wall = datetime.fromisoformat(lease["expires_at"]).timestamp() - lease["expires_in"]
    return abs(wall - time.time() - seconds) < SLACK
