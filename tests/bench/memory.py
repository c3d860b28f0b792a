"""Measures the memory of a sidecar."""

import time
from collections.abc import Callable, Iterator
from statistics import median

from figures import Figure
from rig import Program, Rig, alternate, resident, rig

REPETITIONS = 3
SETTLE = 10.0
CHANGES = 5
PART = 0.45
"""Of the peer's lowest RSS."""
FEW, MANY = 100, 1100
PER_TEMPLATE = 6.0
"""KiB of a template beyond the first hundred."""
_NOTE = (
    "The peer's lowest of three runs, lessee's median. Much of the peer's RSS is its program's pages in the page "
    "cache, and how many count differs from run to run."
)
_MOMENTS = (f"{SETTLE:.0f} s after the start", f"after {CHANGES} changes")


def measure() -> Iterator[Figure]:
    """Compare RSS with the peer's lowest. PSS is for information: it depends on which others run Python or bao."""
    with rig() as bench:
        for count in (1, 100):
            files = bench.secrets(f"memory-{count}", count)
            sizes_of = alternate(
                REPETITIONS,
                peer=lambda files=files: _measure_one(bench, bench.peer(files), files),
                lessee=lambda files=files: _measure_one(bench, bench.lessee(files), files),
            )
            for at, moment in enumerate(_MOMENTS):
                peer = _taken(min, [sizes[at] for sizes in sizes_of["peer"]])
                lessee = _taken(median, [sizes[at] for sizes in sizes_of["lessee"]])
                yield from _figures(f"{count} template{'s' * (count > 1)}, {moment}", peer, lessee)
        files = bench.secrets("memory-many", MANY)
        sizes = alternate(
            REPETITIONS,
            few=lambda: _measure_one(bench, bench.lessee(dict(list(files.items())[:FEW])), {}),
            many=lambda: _measure_one(bench, bench.lessee(files), {}),
        )
        few, many = (median(measured[0][0] for measured in sizes[side]) for side in ("few", "many"))
        each = (many - few) * 1024 / (MANY - FEW)
        yield Figure(
            f"RSS of a template beyond the first {FEW}, of {MANY:,}",
            "",
            f"{each:.1f} KiB",
            f"≤ {PER_TEMPLATE:g} KiB",
            each <= PER_TEMPLATE,
        )


def _measure_one(bench: Rig, program: Program, files: dict[str, str]) -> list[tuple[float, float | None]]:
    with program:
        program.wait_for_files()
        time.sleep(SETTLE)
        sizes = [resident(program.process.pid)]
        for number, (name, secret) in zip(range(CHANGES), list(files.items()) * CHANGES, strict=False):
            value = f"{program.folder.name}-{number}"
            bench.write(secret, value)
            program.wait_for(name, value)
        return [*sizes, resident(program.process.pid)]


def _taken(take: Callable[[list[float]], float], sizes: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    shares = [pss for _, pss in sizes if pss is not None]
    return take([rss for rss, _ in sizes]), take(shares) if shares else None


def _figures(name: str, peer: tuple[float, float | None], lessee: tuple[float, float | None]) -> Iterator[Figure]:
    limit = peer[0] * PART
    yield Figure(
        f"RSS, {name}",
        f"{peer[0]:.1f} MiB",
        f"{lessee[0]:.1f} MiB",
        f"≤ {PART} times that: {limit:.1f} MiB",
        lessee[0] <= limit,
        _NOTE,
    )
    if peer[1] is not None and lessee[1] is not None:
        yield Figure(f"PSS, {name}", f"{peer[1]:.1f} MiB", f"{lessee[1]:.1f} MiB")
