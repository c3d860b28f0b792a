"""CPU time from the start until all files can be read, for many templates in few and in many apps."""

import os
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from figures import Figure
from rig import Rig, cpu_seconds, report, rig, templates

COUNTS = (1000, 4000, 10_000)
"""Templates."""
APPS = (1, 50, 500)
REPETITIONS = 3
ONCE = 10_000
"""That many templates are measured once."""
PER_FOLDER = 500
"""Secrets of a KV folder: one request lists them all."""
LONGEST = 900.0
"""Seconds until all files must exist, on a busy machine."""
GROWTH = 1.1
"""The target: the CPU time of so many times the templates is at most so many times longer, times this."""


def measure(counts: Sequence[int] = COUNTS, repetitions: int = REPETITIONS) -> Iterator[Figure]:
    """Each repetition has one start for each number of templates and of apps: other load affects all of them."""
    used: dict[tuple[int, int], list[float]] = {(count, apps): [] for count in counts for apps in APPS}
    with rig() as bench:
        files = _secrets(bench, max(counts))
        for repetition in range(repetitions):
            for (count, apps), seconds in used.items():
                if count < ONCE or repetition == 0:
                    seconds.append(_start(bench, files[:count], apps))
                    report(f"{count} templates in {apps} apps: {seconds[-1]:.2f} s")
    fewest = min(counts)
    for (count, apps), seconds in used.items():
        name = f"CPU until all files, {count:,} templates in {apps} app{'s' * (apps > 1)}"
        cpu, most = median(seconds), count / fewest * GROWTH
        ratio = cpu / median(used[fewest, apps])
        if count == fewest:
            yield Figure(name, "", f"{cpu:.2f} s")
        else:
            found = f"{cpu:.2f} s, {ratio:.1f} times that of {fewest:,}"
            yield Figure(name, "", found, f"≤ {most:.1f} times", ratio <= most)


def _secrets(bench: Rig, count: int) -> list[tuple[str, str]]:
    """Files, each with a secret of its own."""
    files = {f"s{number:05}.env": f"growth-{number // PER_FOLDER:02}/s{number:05}" for number in range(count)}
    for secret in files.values():
        bench.write(secret, "0")
    return list(files.items())


def _start(bench: Rig, files: list[tuple[str, str]], apps: int) -> float:
    """The CPU seconds of one start, with the files evenly distributed over the apps."""
    names = ["files", *(f"app{number}" for number in range(1, apps))]
    by_app = {name: dict(files[at::apps]) for at, name in enumerate(names)}
    program = bench.lessee_for({name: (templates(inside), None) for name, inside in by_app.items()})
    missing = [program.folder / name / file for name, inside in by_app.items() for file in inside]
    with program:
        program.until(lambda: _all_exist(missing), "all files", timeout=LONGEST)
        cpu = cpu_seconds(program.process.pid)
    shutil.rmtree(program.folder)
    return cpu


def _all_exist(missing: list[Path]) -> bool:
    while missing and os.access(missing[-1], os.R_OK):
        missing.pop()
    return not missing


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    for figure in measure(arguments.counts, arguments.repetitions):
        sys.stdout.write(f"| {figure.name} | {figure.lessee} | {figure.target} | {figure.met} |\n")
        sys.stdout.flush()
