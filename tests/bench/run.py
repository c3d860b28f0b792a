"""Runs benchmarks by name, or all of them, and prints one table; `--write` stores it for the page of figures."""

import importlib
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import NoReturn

from figures import NAMES, Figure, Run, row, store, write_page
from rig import report

from lessee.host.openbao import find_bao

QUIET = 0.1
"""The share of the processors that other programs may use when a benchmark begins whose figures are stored."""
PATIENCE = 60.0
"""Seconds until the machine must be idle: the benchmark before may leave work behind."""
_MARKS = {True: "yes", False: "**no**", None: ""}


def main(arguments: list[str]) -> int:
    """Return 0 if every benchmark ended and no figure missed its target, else 1; 64 for an unknown name."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--write", action="store_true", help="store the runs, and write docs/explanation/figures.md")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page of the stored runs")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        sys.stderr.write(f"unknown benchmark: {', '.join(unknown)}; choose from: {', '.join(NAMES)}\n")
        return 64
    if options.page:
        write_page()
        return 0
    # SIGTERM cleans up as Ctrl-C does: it ends servers and agents, and removes files.
    signal.signal(signal.SIGTERM, _exit)
    _print("figure", "bao agent", "lessee", "target", "met")
    _print(*["---"] * 5)
    reached = [_run(name, write=options.write) for name in options.names or NAMES]
    return int(not all(reached))


def _run(name: str, *, write: bool) -> bool:
    """Run one benchmark. Returns whether it ended and no figure missed its target; its failure ends no other."""
    if write and (used := _used_by_others()) > QUIET:
        report(f"{name}: not measured, because other programs use {used:.0%} of the processors")
        return False
    report(name)
    began, figures = time.monotonic(), []
    try:
        for figure in importlib.import_module(name).measure():
            _print(figure.name, figure.peer, figure.lessee, figure.target, _MARKS[figure.met])
            figures.append(figure)
    except Exception:  # noqa: BLE001  # It is reported; the other benchmarks run without it.
        report(f"{name} failed\n{traceback.format_exc()}")
        return False
    if write and figures:
        store(name, _described(figures, time.monotonic() - began))
    return all(figure.met is not False for figure in figures)


def _used_by_others() -> float:
    """The share of the processors that other programs use, once the machine is idle or PATIENCE ends."""
    deadline = time.monotonic() + PATIENCE
    while True:
        idle, total = _processor_time()
        time.sleep(2)
        idle_then, total_then = _processor_time()
        used = 1 - (idle_then - idle) / (total_then - total)
        if used <= QUIET or time.monotonic() > deadline:
            return used


def _processor_time() -> tuple[int, int]:
    """Ticks in which the processors were idle or waited for disks, and all ticks, proc_stat(5)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _described(figures: list[Figure], took: float) -> Run:
    version = subprocess.run([find_bao(), "version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return Run(
        date=time.strftime("%Y-%m-%d"),
        python=platform.python_version(),
        bao=version.removeprefix("v"),
        processors=len(os.sched_getaffinity(0)),
        took=round(took, 1),
        figures=tuple(figures),
    )


def _print(*cells: str) -> None:
    sys.stdout.write(f"{row(*cells)}\n")
    sys.stdout.flush()


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
