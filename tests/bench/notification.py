"""Measures the time from a new file's rename until the app receives SIGHUP; run as a program, it is the app."""

import json
import os
import signal
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
from figures import Figure
from listener import Listener, p99
from rig import Program, Rig, report, rig

TRIES = 100
PEER_TRIES = 30
LIMIT = 0.020
REFRESH = "200ms"
"""Short, to save time: it does not change how long a notification takes."""
_RANDOM = SystemRandom()


def measure(tries: int = TRIES, peer_tries: int = PEER_TRIES) -> Iterator[Figure]:
    with rig() as bench:
        theirs = _changes(bench, _peer, peer_tries)
        ours = _changes(bench, _lessee, tries)
    name = f"new file published → SIGHUP received, {len(ours)} changes ({len(theirs)} of the peer)"
    # Other load on the machine can delay a few.
    for what, take, limit in (("median", median, LIMIT), ("p99", p99, LIMIT), ("longest", max, None)):
        mine = take(ours)
        reach, met = (f"≤ {1000 * limit:.0f} ms", mine <= limit) if limit is not None else ("", None)
        yield Figure(f"{name}: {what}", f"{1000 * take(theirs):.0f} ms", f"{1000 * mine:.0f} ms", reach, met)


def _changes(bench: Rig, make: Callable[[Rig, Path], tuple[Program, Path]], count: int) -> list[float]:
    """Seconds of each change."""
    bench.write("notification/one", "first")
    pid_file = bench.folder / "app.pid"
    program, renamed = make(bench, pid_file)
    with Listener(__file__, program.directory / "one.env", renamed, pid_file=pid_file) as app, program:
        app.wait_for("first")
        took = []
        for number in range(count):
            # Writes at random moments between two polls of the agent.
            time.sleep(_RANDOM.uniform(0.0, 0.2))
            value = f"{program.folder.name}-{number}"
            bench.write("notification/one", value)
            took.append(app.wait_for(value)["after"])
    report(f"{program.folder.name}: {[round(1000 * seconds, 1) for seconds in sorted(took)]} ms")
    return took


def _lessee(bench: Rig, pid_file: Path) -> tuple[Program, Path]:
    notify = {"process": {"pid_file": str(pid_file)}, "action": "SIGHUP"}
    program = bench.lessee({"one.env": "notification/one"}, notify=notify)
    config = json.loads(program.config.read_text()) | {"secrets": {"refresh_interval": REFRESH}}
    program.config.write_text(json.dumps(config))
    return program, program.directory / "..data"


def _peer(bench: Rig, pid_file: Path) -> tuple[Program, Path]:
    program = bench.peer({"one.env": "notification/one"}, command=["sh", "-c", f"kill -HUP $(cat {pid_file})"])
    return program, program.directory / "one.env"


def _serve(file: Path, renamed: Path) -> NoReturn:
    def on_signal(_: int, __: FrameType | None) -> None:
        now = time.time()
        # rename(2) sets ctime to the kernel's last tick, so a time is up to a tick too long and never too short.
        # With inotify(7) a busy machine would delay this process, and times would be too short.
        after = now - renamed.lstat().st_ctime
        value = file.read_text().partition("=")[2].strip().strip("'\"")
        os.write(1, json.dumps({"after": after, "value": value}).encode() + b"\n")

    signal.signal(signal.SIGHUP, on_signal)
    os.write(1, b"ready\n")
    children.wait_for_signals()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"changes ({TRIES})")
    parser.add_argument("app", nargs="*", type=Path)
    chosen = parser.parse_args()
    if chosen.app:
        _serve(*chosen.app)
    for figure in measure(chosen.tries, min(chosen.tries, PEER_TRIES)):
        sys.stdout.write(f"{figure.name}: {figure.lessee}; {figure.peer}\n")
