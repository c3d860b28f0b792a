"""Measures the time from the response to a KV write until the app receives SIGHUP; run as a program, it is the app."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from random import SystemRandom
from statistics import median
from types import FrameType
from typing import NoReturn

from figures import Figure
from listener import Listener, p99
from rig import Program, Rig, alternate, rig

REPETITIONS = 3
CHANGES = 40
"""Per repetition: 120 in total."""
PEER_CHANGES = 15
MEDIAN = 0.6
P99 = 1.2
_NOTE = "The peer signals by a command after each template; its supervisor mode takes longer."
_RANDOM = SystemRandom()


def measure() -> Iterator[Figure]:
    with rig() as bench:
        times = alternate(
            REPETITIONS,
            peer=lambda: _changes(bench, _peer, PEER_CHANGES),
            lessee=lambda: _changes(bench, _lessee, CHANGES),
        )
    peer, lessee = (sorted(chain.from_iterable(times[side])) for side in ("peer", "lessee"))
    name = f"KV write → SIGHUP received, `refresh_interval: 1s`, {len(lessee)} changes ({len(peer)} of the peer)"
    for what, take, limit in (("median", median, MEDIAN), ("p99", p99, P99)):
        mine = take(lessee)
        yield Figure(f"{name}: {what}", f"{take(peer):.2f} s", f"{mine:.2f} s", f"≤ {limit} s", mine <= limit, _NOTE)


def _changes(bench: Rig, make: Callable[[Rig, Path], Program], count: int) -> list[float]:
    bench.write("latency/one", "first")
    pid_file = bench.folder / "app.pid"
    program = make(bench, pid_file)
    with Listener(__file__, program.directory / "one.env", pid_file=pid_file) as app, program:
        app.wait_for("first")
        took = []
        for number in range(count):
            # Writes at random moments between two polls of the agent.
            time.sleep(_RANDOM.uniform(0.0, 1.0))
            value = f"{program.folder.name}-{number}"
            bench.write("latency/one", value)
            answered = time.monotonic()
            took.append(app.wait_for(value)["at"] - answered)
        return took


def _lessee(bench: Rig, pid_file: Path) -> Program:
    notify = {"process": {"pid_file": str(pid_file)}, "action": "SIGHUP"}
    return bench.lessee({"one.env": "latency/one"}, notify=notify)


def _peer(bench: Rig, pid_file: Path) -> Program:
    return bench.peer({"one.env": "latency/one"}, command=["sh", "-c", f"kill -HUP $(cat {pid_file})"])


def _serve(file: Path) -> NoReturn:
    def on_signal(_: int, __: FrameType | None) -> None:
        at = time.monotonic()
        value = file.read_text().partition("=")[2].strip().strip("'\"")
        os.write(1, json.dumps({"at": at, "value": value}).encode() + b"\n")

    signal.signal(signal.SIGHUP, on_signal)
    os.write(1, b"ready\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
