"""Checks the files after SIGKILL at random moments of a publication, and again after the restart."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

from figures import Figure
from rig import Program, Rig, read_stamp, report, rig, stamp

from lessee.status.client import request_status

KILLS = 50
WRITES = 5
"""Writes before about every second kill; before the others there is one."""
LATEST = 0.15
"""The latest kill, in seconds after a write: by then the agent has read, rendered and published."""
STAGING = 0.003
"""The latest of every second kill, in seconds after the agent begins to write a generation."""
SETTLE = 10.0
"""Seconds until no leftovers remain. The agent removes the old generation 5 s after a notification."""
FILES = {f"f{number:03}.env": "kills/one" for number in range(200)}
"""Many files, so that kills often interrupt their writing."""
_RANDOM = SystemRandom()


def measure() -> Iterator[Figure]:
    broken = leftovers = staged = 0
    with rig() as bench:
        bench.write("kills/one", stamp(0))
        program = bench.lessee(FILES)
        with program:
            program.wait_for_files()
            program.wait_for_status()
            number = 0
            for round_ in range(KILLS):
                number = _write_and_kill(bench, program, number)
                broken += not _is_whole(program.directory)
                staged += _has_staged(program.directory)
                program.start()
                program.wait_for_status()
                program.wait_for("f000.env", f"{number:06}-")
                leftovers += not _is_clean(program.directory)
                if round_ % 10 == 9:
                    report(f"{round_ + 1} kills: {broken} broken, {leftovers} leftovers, {staged} while publishing")
    yield Figure(f"{KILLS} kills around publishes: no complete generation", "", str(broken), "0", not broken)
    yield Figure(f"{KILLS} kills: leftovers after the restart", "", str(leftovers), "0", not leftovers)
    yield Figure(f"{KILLS} kills: during a publication", "", str(staged))


def _write_and_kill(bench: Rig, program: Program, number: int) -> int:
    for _ in range(_RANDOM.choice((1, WRITES))):
        number += 1
        bench.write("kills/one", stamp(number))
        request_status(program.socket, "POST", "/refresh", [])
    if _RANDOM.random() < 0.5:
        time.sleep(_RANDOM.uniform(0.0, LATEST))
    else:
        deadline = time.monotonic() + LATEST
        while not _has_staged(program.directory) and time.monotonic() < deadline:
            pass  # a sleep would miss the moment
        time.sleep(_RANDOM.uniform(0.0, STAGING))
    program.kill()
    return number


def _is_whole(directory: Path) -> bool:
    """Whether all files, by path and through a descriptor, contain the same complete stamp."""
    with ExitStack() as stack:
        numbers = set()
        for folder in (directory, directory / "..data"):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, held)
            for name in FILES:
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=held), "rb") as file:
                    numbers.add(read_stamp(file.read()))
    return len(numbers) == 1 and None not in numbers


def _has_staged(directory: Path) -> bool:
    """Whether the folder contains a generation newer than the live one, or a temporary link."""
    live = (directory / "..data").readlink().name
    ours = {path.name for path in directory.iterdir() if path.name.startswith("..lessee-")} - {live}
    return any(name.endswith("-link") or _number(name) > _number(live) for name in ours)


def _number(folder: str) -> int:
    return int(folder.split("-")[1])


def _is_clean(directory: Path) -> bool:
    """Wait until only `..data`, the live folder and the links remain. Returns whether they do."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        wanted = {"..data", (directory / "..data").readlink().name, *FILES}
        if {path.name for path in directory.iterdir()} == wanted:
            return True
        time.sleep(0.05)
    return False
