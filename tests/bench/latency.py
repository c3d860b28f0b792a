"""From the answer to a write in KV until the app has been signalled; run as a program, it is the app."""

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from random import SystemRandom
from statistics import median
from types import FrameType
from typing import NoReturn

from rig import PATIENCE, Figure, Program, Rig, alternate, rig

REPETITIONS = 3
CHANGES = 40
"""A repetition: 120 in all."""
PEER_CHANGES = 15
MEDIAN = 0.6
P99 = 1.2
_CHANCE = SystemRandom()


def measure() -> Iterator[Figure]:
    with rig() as bench:
        heard = alternate(
            REPETITIONS,
            peer=lambda: _changes(bench, _peer, PEER_CHANGES),
            lessee=lambda: _changes(bench, _lessee, CHANGES),
        )
    peer, lessee = (sorted(chain.from_iterable(heard[side])) for side in ("peer", "lessee"))
    name = f"KV write answered → SIGHUP received, refresh 1 s, {len(lessee)} changes ({len(peer)} of the peer)"
    for what, take, limit in (("median", median, MEDIAN), ("p99", _p99, P99)):
        mine = take(lessee)
        yield Figure(f"{name}: {what}", f"{take(peer):.2f} s", f"{mine:.2f} s", f"≤ {limit} s", mine <= limit)


def _changes(bench: Rig, make: Callable[[Rig, Path], Program], count: int) -> list[float]:
    bench.write("latency/one", "first")
    pid_file = bench.folder / "app.pid"
    program = make(bench, pid_file)
    with _App(program.directory / "one.env", pid_file) as app, program:
        app.heard("first")
        took = []
        for number in range(count):
            # The phase of the write in the agent's round is left to chance.
            time.sleep(_CHANCE.uniform(0.0, 1.0))
            value = f"{program.folder.name}-{number}"
            bench.write("latency/one", value)
            answered = time.monotonic()
            took.append(app.heard(value) - answered)
        return took


def _lessee(bench: Rig, pid_file: Path) -> Program:
    notify = {"process": {"pid_file": str(pid_file)}, "action": "SIGHUP"}
    return bench.lessee({"one.env": "latency/one"}, notify=notify)


def _peer(bench: Rig, pid_file: Path) -> Program:
    return bench.peer({"one.env": "latency/one"}, command=["sh", "-c", f"kill -HUP $(cat {pid_file})"])


class _App:
    """A process that catches SIGHUP and says when, and which value it then reads."""

    def __init__(self, file: Path, pid_file: Path) -> None:
        self._file = file
        self._pid_file = pid_file

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._file], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
        )
        self._line()
        self._pid_file.write_text(f"{self._process.pid}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def heard(self, value: str) -> float:
        """When it was told of this value, on CLOCK_MONOTONIC."""
        while True:
            said = json.loads(self._line())
            if said["value"] == value:
                return float(said["at"])

    def _line(self) -> bytes:
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise RuntimeError("the app was not signalled")
        return self._process.stdout.readline()


def _p99(times: list[float]) -> float:
    return times[math.ceil(0.99 * len(times)) - 1]


def _serve(file: Path) -> NoReturn:
    def hear(_: int, __: FrameType | None) -> None:
        at = time.monotonic()
        value = file.read_text().partition("=")[2].strip().strip("'\"")
        os.write(1, json.dumps({"at": at, "value": value}).encode() + b"\n")

    signal.signal(signal.SIGHUP, hear)
    os.write(1, b"ready\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
