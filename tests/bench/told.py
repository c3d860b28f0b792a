"""From the rename that shows a new file until the app has been signalled; run as a program, it is the app."""

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom
from statistics import median
from types import FrameType
from typing import NoReturn

import children
from rig import PATIENCE, Figure, Program, Rig, rig, tell

TRIES = 100
PEER_TRIES = 30
LIMIT = 0.020
REFRESH = "200ms"
"""Telling takes as long however often it is looked."""
_CHANCE = SystemRandom()


def measure(tries: int = TRIES, peer_tries: int = PEER_TRIES) -> Iterator[Figure]:
    with rig() as bench:
        theirs = _changes(bench, _peer, peer_tries)
        ours = _changes(bench, _lessee, tries)
    name = f"the new file is there → SIGHUP received, {len(ours)} changes ({len(theirs)} of the peer)"
    # Few may be late on a machine that has other things to do.
    for what, take, limit in (("median", median, LIMIT), ("p99", _p99, LIMIT), ("longest", max, None)):
        mine = take(ours)
        reach, met = (f"≤ {1000 * limit:.0f} ms", mine <= limit) if limit is not None else ("", None)
        yield Figure(f"{name}: {what}", f"{1000 * take(theirs):.0f} ms", f"{1000 * mine:.0f} ms", reach, met)


def _changes(bench: Rig, make: Callable[[Rig, Path], tuple[Program, Path]], count: int) -> list[float]:
    """Of each change the seconds."""
    bench.write("told/one", "first")
    pid_file = bench.folder / "app.pid"
    program, renamed = make(bench, pid_file)
    with _App(program.directory / "one.env", renamed, pid_file) as app, program:
        app.heard("first")
        took = []
        for number in range(count):
            # The phase of the write in the agent's round is left to chance.
            time.sleep(_CHANCE.uniform(0.0, 0.2))
            value = f"{program.folder.name}-{number}"
            bench.write("told/one", value)
            took.append(app.heard(value))
    tell(f"{program.folder.name}: {[round(1000 * seconds, 1) for seconds in sorted(took)]} ms")
    return took


def _lessee(bench: Rig, pid_file: Path) -> tuple[Program, Path]:
    notify = {"process": {"pid_file": str(pid_file)}, "action": "SIGHUP"}
    program = bench.lessee({"one.env": "told/one"}, notify=notify)
    config = json.loads(program.config.read_text()) | {"secrets": {"refresh": REFRESH}}
    program.config.write_text(json.dumps(config))
    return program, program.directory / "..data"


def _peer(bench: Rig, pid_file: Path) -> tuple[Program, Path]:
    program = bench.peer({"one.env": "told/one"}, command=["sh", "-c", f"kill -HUP $(cat {pid_file})"])
    return program, program.directory / "one.env"


class _App:
    """A process that catches SIGHUP, and says how long before the file was renamed that it then reads."""

    def __init__(self, *arguments: Path) -> None:
        *self._arguments, self._pid_file = arguments

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
        )
        self._line()
        self._pid_file.write_text(f"{self._process.pid}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def heard(self, value: str) -> float:
        """After how many seconds it was told of this value."""
        while True:
            said = json.loads(self._line())
            if said["value"] == value:
                return float(said["after"])

    def _line(self) -> bytes:
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise RuntimeError("the app was not signalled")
        return self._process.stdout.readline()


def _p99(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def _serve(file: Path, renamed: Path) -> NoReturn:
    def hear(_: int, __: FrameType | None) -> None:
        now = time.time()
        # rename(2) sets it, to the kernel's last tick: what is measured is never too short, and up to a tick too long.
        # One who watched by inotify(7) would be woken too late when the machine is busy, and say too little.
        after = now - renamed.lstat().st_ctime
        value = file.read_text().partition("=")[2].strip().strip("'\"")
        os.write(1, json.dumps({"after": after, "value": value}).encode() + b"\n")

    signal.signal(signal.SIGHUP, hear)
    os.write(1, b"ready\n")
    children.hear_signals()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"changes ({TRIES})")
    parser.add_argument("app", nargs="*", type=Path)
    chosen = parser.parse_args()
    if chosen.app:
        _serve(*chosen.app)
    for figure in measure(chosen.tries, min(chosen.tries, PEER_TRIES)):
        sys.stdout.write(f"{figure.name}: {figure.lessee}; {figure.peer}\n")
