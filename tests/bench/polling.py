"""Measures requests and CPU time of an idle agent whose files are one second fresh."""

import time
from collections.abc import Iterator
from statistics import median

from figures import Figure
from rig import Program, Rig, alternate, cpu_seconds, rig

SECRETS = 100
REPETITIONS = 3
SETTLE = 5.0
WINDOW = 60.0
PEER_WINDOW = 30.0
"""Shorter and scaled to a minute, because the peer sends many more requests."""
REQUESTS = 70
CPU = 2.0


def measure() -> Iterator[Figure]:
    with rig(audited=True) as bench:
        files = bench.secrets("polling", SECRETS)
        spent = alternate(
            REPETITIONS,
            peer=lambda: _watch(bench, bench.peer(files), PEER_WINDOW),
            lessee=lambda: _watch(bench, bench.lessee(files), WINDOW),
        )
    (peer_requests, peer_cpu), (requests, cpu) = (
        (median(asked for asked, _ in spent[side]), median(used for _, used in spent[side]))
        for side in ("peer", "lessee")
    )
    name = f"{SECRETS} secrets of one folder, 1 s fresh, nothing changes"
    yield Figure(
        f"requests a minute, {name}", f"{peer_requests:,.0f}", f"{requests:,.0f}", f"≤ {REQUESTS}", requests <= REQUESTS
    )
    yield Figure(f"CPU a minute, {name}", f"{peer_cpu:.2f} s", f"{cpu:.2f} s", f"≤ {CPU:.0f} s", cpu <= CPU)


def _watch(bench: Rig, program: Program, window: float) -> tuple[float, float]:
    """Requests and CPU seconds a minute."""
    with program:
        program.wait_for_files()
        time.sleep(SETTLE)
        # No other client uses this server.
        pid = program.process.pid
        began, asked, used = time.monotonic(), bench.count_requests(), cpu_seconds(pid)
        time.sleep(window)
        asked, used = bench.count_requests() - asked, cpu_seconds(pid) - used
        minutes = (time.monotonic() - began) / 60
    return asked / minutes, used / minutes
