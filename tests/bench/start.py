"""From the start of the process until all files can be read."""

import subprocess
import time
from collections.abc import Iterator
from statistics import median

from figures import Figure
from rig import LESSEE, Files, Program, Rig, alternate, environ, rig

TEMPLATES = ((1, 7, 1.25), (100, 7, 0.5), (1000, 3, 0.2))
"""Templates, repetitions, and the target as a fraction of the peer's time."""


def measure() -> Iterator[Figure]:
    """Every start is cold: it finds no token and no files. The programs are in the page cache."""
    with rig() as bench:
        _compare(bench, bench.secrets("warm", 1), 1)
        for count, repetitions, part in TEMPLATES:
            took = _compare(bench, bench.secrets(f"start-{count}", count), repetitions)
            name = f"start, {count:,} template{'s' * (count > 1)}"
            peer, lessee = took["peer"], took["lessee"]
            yield Figure(
                name,
                f"{peer:.2f} s",
                f"{lessee:.2f} s",
                f"≤ {part:g} times that: {peer * part:.2f} s",
                lessee <= peer * part,
            )
            yield Figure(f"{name}: `lessee render --output`, total run time", "", f"{took['render']:.2f} s")


def _compare(bench: Rig, files: Files, repetitions: int) -> dict[str, float]:
    took = alternate(
        repetitions,
        peer=lambda: _start(bench.peer(files)),
        lessee=lambda: _start(bench.lessee(files)),
        render=lambda: _render(bench.lessee(files)),
    )
    return {name: median(times) for name, times in took.items()}


def _start(program: Program) -> float:
    with program:
        return program.wait_for_files()


def _render(program: Program) -> float:
    options = ["--config", program.config, "--output", program.folder / "out", "--timeout", "120s"]
    began = time.monotonic()
    subprocess.run(
        [*LESSEE, "render", *options], check=True, capture_output=True, env=environ(program.folder), timeout=150
    )
    return time.monotonic() - began
