"""Measures the CPU time of an idle agent with thousands of secrets in several folders."""

import time
from collections.abc import Iterator
from statistics import median

from figures import Figure
from rig import Program, cpu_seconds, report, rig

SECRETS = 4000
FOLDERS = 8
REPETITIONS = 3
SETTLE = 10.0
WINDOW = 60.0
CPU = 1.0


def measure() -> Iterator[Figure]:
    with rig() as bench:
        files = {f"s{number:04}.env": f"idle-{number % FOLDERS}/s{number:04}" for number in range(SECRETS)}
        for secret in files.values():
            bench.write(secret, "0")
        used = []
        for _ in range(REPETITIONS):
            used.append(_watch(bench.lessee(files)))
            report(f"CPU a minute: {used[-1]:.2f} s")
    cpu = median(used)
    name = f"CPU a minute, {SECRETS:,} secrets in {FOLDERS} folders, 1 s fresh, nothing changes"
    yield Figure(name, "", f"{cpu:.2f} s", f"≤ {CPU:g} s", cpu <= CPU)


def _watch(program: Program) -> float:
    """CPU seconds a minute."""
    with program:
        program.wait_for_files()
        time.sleep(SETTLE)
        pid, began = program.process.pid, time.monotonic()
        used = cpu_seconds(pid)
        time.sleep(WINDOW)
        return (cpu_seconds(pid) - used) / (time.monotonic() - began) * 60
