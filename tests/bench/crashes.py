"""Checks how `lessee exec` restarts a child that fails at its first starts."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import children
from figures import Figure
from rig import TIMEOUT, Program, Rig, report, rig

FAILURES = 5
STABLE_AFTER = 3.0
"""Seconds after which a running child counts as stable."""
GAPS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each restart, without the duration of the start."""
START = 0.5
RESTART = {"max_attempts": FAILURES, "window": "60s"}


class Seen(NamedTuple):
    starts: list[float]
    """When, on CLOCK_MONOTONIC."""
    code: int | None
    """None: it was still running."""

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in pairwise(self.starts)]

    def __str__(self) -> str:
        end = "up" if self.code is None else f"ended with {self.code}"
        times = "start" if len(self.starts) == 1 else "starts"
        return f"{end} after {len(self.starts)} {times}"


def measure() -> Iterator[Figure]:
    with rig() as bench:
        bench.write("crashes/one", "x")
        theirs = _run(bench, children.peer, FAILURES)
        ours = _run(bench, lambda *given: children.lessee(*given, restart=RESTART), FAILURES)
        gaps = ", ".join(f"{gap:.2f}" for gap in ours.gaps)
        report(f"seconds from one start to the next: {gaps}")
        met = (
            ours.code is None and [_is_expected(*gap) for gap in zip(ours.gaps, GAPS, strict=True)] == [True] * FAILURES
        )
        name = f"a child that ends with 3 at {FAILURES} starts, and then runs"
        yield Figure(f"{name}; seconds between", str(theirs), f"{ours}; {gaps}", "up", met)
        theirs = _run(bench, children.peer, FAILURES + 1)
        ours = _run(bench, lambda *given: children.lessee(*given, restart=RESTART), FAILURES + 1)
        met = ours.code == 3 and len(ours.starts) == FAILURES + 1
        yield Figure("… and at the next start too", str(theirs), str(ours), "ended with 3", met)


def _run(bench: Rig, make: Callable[..., Program], failures: int) -> Seen:
    file = bench.folder / "starts"
    file.unlink(missing_ok=True)
    program = make(bench, "crashes/one", children.child(file, failures=failures))
    with children.running(program):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            code = program.process.poll()
            starts = [start.at for start in children.starts(file)]
            is_stable = len(starts) > failures and time.monotonic() - starts[-1] > STABLE_AFTER
            if code is not None or is_stable:
                return Seen(starts, code)
            time.sleep(0.01)
    raise RuntimeError(f"{program.folder.name}: the child neither runs nor ends")


def _is_expected(gap: float, expected: float) -> bool:
    return expected <= gap <= expected + START
