"""Measures what it costs that an agent reads its secrets in a fork: start and memory, with and without the fork."""

import sys
import time
from collections.abc import Iterator

from figures import Figure
from rig import Files, Program, Rig, alternate, resident, rig

REPETITIONS = 9
SETTLE = 3.0
LONGER, LARGER = 10.0, 2.0
"""Milliseconds, and MiB."""
_WITHOUT = (sys.executable, "-c", "import sys; from lessee.cli import main; sys.exit(main(sys.argv[1:]))")
_WITH = (sys.executable, "-c", "import sys; from lessee.cli import main; sys.exit(main())")


def measure() -> Iterator[Figure]:
    """Alternate between both, and compare the fastest and the smallest, because a fork costs less than other load.

    The command line's own function does not fork when it gets its arguments.
    """
    with rig() as bench:
        files = bench.secrets("first-process", 1)
        _run(bench, files, _WITH)
        taken = alternate(
            REPETITIONS,
            forked=lambda: _run(bench, files, _WITH),
            plain=lambda: _run(bench, files, _WITHOUT),
        )
        forked, plain = ([min(one) for one in zip(*taken[side], strict=True)] for side in ("forked", "plain"))
        added = [after - before for after, before in zip(forked, plain, strict=True)]
        yield Figure(
            "the fork that reads secrets: added to the start",
            "",
            f"{added[0] * 1000:.0f} ms",
            f"≤ {LONGER:g} ms",
            added[0] * 1000 <= LONGER,
        )
        yield Figure(
            "the fork that reads secrets: PSS of both processes, added",
            "",
            f"{added[1]:.1f} MiB",
            f"≤ {LARGER:g} MiB",
            added[1] <= LARGER,
        )


def _run(bench: Rig, files: Files, command: tuple[str, ...]) -> tuple[float, float]:
    """Seconds until the files are there, and PSS in MiB."""
    program: Program = bench.lessee(files)
    program._command = [*command, "run", "--config", program.config]
    with program:
        began = program.wait_for_files()
        time.sleep(SETTLE)
        return began, resident(program.process.pid)[1] or 0.0
