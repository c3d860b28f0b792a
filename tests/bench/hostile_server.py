"""Measures what a hostile or broken server costs a sidecar: its memory, its requests, and the delay of SIGTERM."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure
from rig import MEMORY, report

from lessee.host.openbao import OpenBao
from support.programs.attacked import A_MINUTE, Attacked, prepare
from support.servers.hostile_server import ATTACKS

MOST_MEMORY = 120.0
"""MiB."""
MOST_REQUESTS = 20
"""In a minute."""
LONGEST_STOP = 1.0
"""Seconds from SIGTERM until the process has ended."""
CONCURRENT = 6
"""Attacks at the same time, each to its own sidecar."""
_NUMBERS = count()


def measure() -> Iterator[Figure]:
    with TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder, OpenBao(Path(folder)) as bao:
        prepare(bao)
        names = list(ATTACKS)
        for at in range(0, len(names), CONCURRENT):
            yield from _attack(bao, Path(folder), names[at : at + CONCURRENT])


def _attack(bao: OpenBao, folder: Path, names: Sequence[str]) -> Iterator[Figure]:
    with ExitStack() as stack:
        attacked: dict[str, Attacked] = {}
        for name in names:
            number = next(_NUMBERS)
            disk, memory = folder / f"disk{number}", folder / f"memory{number}"
            disk.mkdir()
            memory.mkdir()
            attacked[name] = Attacked(bao, disk, memory, *ATTACKS[name])
            stack.callback(attacked[name].close)
            attacked[name].start()
        for one in attacked.values():
            one.begin()
        time.sleep(A_MINUTE)
        for name, one in attacked.items():
            peak, requests = one.peak, one.requests
            seconds, code = one.stop()
            report(f"{name}: {peak:.0f} MiB, {requests} requests, ended after {seconds:.2f} s with {code}")
            yield Figure(
                f"hostile server: {name}",
                "",
                f"**{peak:.0f} MiB, {requests} requests, {seconds:.2f} s**",
                f"≤ {MOST_MEMORY:.0f} MiB, ≤ {MOST_REQUESTS} requests in 60 s, SIGTERM obeyed within 1 s",
                code == 0 and peak <= MOST_MEMORY and requests <= MOST_REQUESTS and seconds <= LONGEST_STOP,
            )
