"""What `lessee validate` looks at, how long that takes, and whether each broken part is told by its own check."""

import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import median

from rig import MEMORY, Figure, tell  # The tests' own modules are found through it.

from breakages import Breakage
from environments import Environment
from postgres import Postgres

REPETITIONS = 5
CHECKS, SECONDS = 40, 10.0


def measure() -> Iterator[Figure]:
    """Every part is real; the peer checks nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="lessee-bench-") as disk,
        tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as memory,
        Postgres(Path(disk)) as postgres,
    ):
        environment = Environment(Path(disk), Path(memory), postgres)
        try:
            yield from _well(environment)
            yield _broken(environment)
        finally:
            environment.close()


def _well(environment: Environment) -> Iterator[Figure]:
    took, passed, others = [], 0, 0
    for _ in range(REPETITIONS):
        began = time.monotonic()
        results = environment.results()
        took.append(time.monotonic() - began)
        passed = sum(result["passed"] is True for result in results.values())
        others = len(results) - passed
    yield Figure(
        "validate, all is well: checks passed / not passed", "", f"{passed} / {others}", f"≥ {CHECKS}", passed >= CHECKS
    )
    name = f"… from the start to the end of the program, {REPETITIONS} times: median"
    yield Figure(name, "", f"{median(took):.2f} s", f"≤ {SECONDS:g} s", median(took) <= SECONDS)


def _broken(environment: Environment) -> Figure:
    rows = [row for table in _tables() for row in table]
    told = 0
    for row in rows:
        with row.how(environment):
            results = environment.results("--component", row.component)
        failed = {one for one, result in results.items() if result["passed"] is False}
        if failed == {(row.component, name) for name in (row.check, *row.also)}:
            told += 1
        else:
            tell(f"{row.component} {row.check} {row.how.__name__}: {sorted(failed)}")
    name = f"… of {len(rows)} parts broken one by one: told by their own checks alone"
    return Figure(name, "", str(told), str(len(rows)), told == len(rows))


def _tables() -> list[list[Breakage]]:
    folder = Path(sys.modules[Breakage.__module__].__file__ or "").parent
    return [import_module(file.stem).ROWS for file in sorted(folder.glob("breakages*.py"))]
