"""What is left when lessee is killed at any moment, and once it is back."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

from rig import Figure, Program, Rig, rig, stamp, stamped, tell

from lessee.status.server import ask

KILLS = 50
WRITES = 5
"""One upon another before every other kill or so; else there is one."""
REACH = 0.15
"""Seconds after a write in which a kill comes: reading, rendering and publishing are done by then."""
STAGING = 0.003
"""Seconds after a new generation begins to be written in which every other kill comes."""
SETTLE = 10.0
"""Seconds until nothing is left over: the old generation is kept for 5 s after the app was told."""
FILES = {f"f{number:03}.env": "kill/one" for number in range(200)}
"""So many that a kill often comes while they are being written."""
_CHANCE = SystemRandom()


def measure() -> Iterator[Figure]:
    broken = untidy = between = 0
    with rig() as bench:
        bench.write("kill/one", stamp(0))
        program = bench.lessee(FILES)
        with program:
            program.wait_for_files()
            program.wait_to_answer()
            number = 0
            for round_ in range(KILLS):
                number = _write_and_kill(bench, program, number)
                broken += not _whole(program.directory)
                between += _staged(program.directory)
                program.start()
                program.wait_to_answer()
                program.wait_for("f000.env", f"{number:06}-")
                untidy += not _tidy(program.directory)
                if round_ % 10 == 9:
                    tell(f"{round_ + 1} kills: {broken} broken, {untidy} untidy, {between} caught publishing")
    yield Figure(f"{KILLS} kills around publishes: not one whole generation", "", str(broken), "0", not broken)
    yield Figure(f"{KILLS} kills: something left over once it is back", "", str(untidy), "0", not untidy)
    yield Figure(f"{KILLS} kills: met a generation that was staged and not live", "", str(between))


def _write_and_kill(bench: Rig, program: Program, number: int) -> int:
    for _ in range(_CHANCE.choice((1, WRITES))):
        number += 1
        bench.write("kill/one", stamp(number))
        ask(program.socket, "POST", "/refresh", [])
    if _CHANCE.random() < 0.5:
        time.sleep(_CHANCE.uniform(0.0, REACH))
    else:
        deadline = time.monotonic() + REACH
        while not _staged(program.directory) and time.monotonic() < deadline:
            pass  # a sleep would miss it
        time.sleep(_CHANCE.uniform(0.0, STAGING))
    program.kill()
    return number


def _whole(directory: Path) -> bool:
    """All files, by path and through a descriptor, hold one whole stamp."""
    with ExitStack() as stack:
        numbers = set()
        for folder in (directory, directory / "..data"):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, held)
            for name in FILES:
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=held), "rb") as file:
                    numbers.add(stamped(file.read()))
    return len(numbers) == 1 and None not in numbers


def _staged(directory: Path) -> bool:
    """Whether a generation newer than the live one, or a link on its way, lies there."""
    live = (directory / "..data").readlink().name
    ours = {path.name for path in directory.iterdir() if path.name.startswith("..lessee-")} - {live}
    return any(name.endswith("-link") or _number(name) > _number(live) for name in ours)


def _number(folder: str) -> int:
    return int(folder.split("-")[1])


def _tidy(directory: Path) -> bool:
    """Wait until there are only ..data, the live folder and the links."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        wanted = {"..data", (directory / "..data").readlink().name, *FILES}
        if {path.name for path in directory.iterdir()} == wanted:
            return True
        time.sleep(0.05)
    return False
