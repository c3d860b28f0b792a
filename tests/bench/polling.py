"""What being fresh costs while nothing changes."""

import time
from collections.abc import Iterator
from statistics import median

from rig import Figure, Program, Rig, alternate, cpu_seconds, rig

SECRETS = 100
REPETITIONS = 3
SETTLE = 5.0
WINDOW = 60.0
PEER_WINDOW = 30.0
"""Shorter, and scaled: it asks so much more that half a minute tells as well."""
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
        pid = program.process.pid
        began, asked, used = time.monotonic(), requests_of(bench), cpu_seconds(pid)
        time.sleep(window)
        asked, used = requests_of(bench) - asked, cpu_seconds(pid) - used
        minutes = (time.monotonic() - began) / 60
    return asked / minutes, used / minutes


def requests_of(bench: Rig) -> int:
    """What the server has been asked so far."""
    # Nobody else asks this server meanwhile, so all that its audit log holds is the program's.
    with bench.audit.open("rb") as log:
        return sum(b'"type":"request"' in line for line in log)
