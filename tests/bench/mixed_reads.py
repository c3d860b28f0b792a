"""Counts mixed, missing and partial reads of two files while they change; run as a program, it is a reader."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from figures import Figure
from rig import TIMEOUT, Program, Rig, read_stamp, report, rig, stamp

from lessee.status.client import request_status

PUBLISHES = 500
READS = 200_000
PEER_SECONDS = 30.0
PACE = 0.1
"""Seconds between writes: lessee publishes for about a minute."""
READ_DELAY = 1.0
"""Seconds that a slow reader waits between opening the folder and reading."""
FILES = {"one.env": "mixed-reads/both", "two.env": "mixed-reads/both"}

_FAULTS = ("mixed", "missing", "partial")
_READS_PER_CHECK = 50
_NOTE = (
    "Two opens by path are two moments; no layout on disk can join them. "
    "[Read through a descriptor](../how-to/reading-files.md), or one file."
)


def measure() -> Iterator[Figure]:
    with rig() as bench:
        bench.write("mixed-reads/both", stamp(0))
        peer = _read_meanwhile(bench.peer(FILES), ("path",), lambda program: _write(bench, program))
        ways = ("path", "descriptor", "slowly")
        lessee = _read_meanwhile(bench.lessee(FILES), ways, lambda program: _publish(bench, program))
    name = f"mixed / missing / partial of reads in {PUBLISHES} publishes"
    seen = lessee["descriptor"]
    whole = seen["reads"] >= READS and not any(seen[kind] for kind in _FAULTS)
    yield Figure(f"{name}, by a descriptor of ..data", "", _counts(seen), f"0 / 0 / 0 of ≥ {READS:,}", whole)
    seen = lessee["slowly"]
    whole = not any(seen[kind] for kind in _FAULTS)
    yield Figure(f"{name}, by a descriptor, {READ_DELAY:g} s after opening it", "", _counts(seen), "0 / 0 / 0", whole)
    seen = lessee["path"]
    whole = not seen["missing"] and not seen["partial"]
    peer_name = f"{name}, by path (the peer: {PEER_SECONDS:.0f} s of writes)"
    yield Figure(peer_name, _counts(peer["path"]), _counts(seen), "any / 0 / 0", whole, _NOTE)


def _counts(seen: Mapping[str, int]) -> str:
    return f"{' / '.join(str(seen[kind]) for kind in _FAULTS)} of {seen['reads']:,}"


def _read_meanwhile(program: Program, ways, drive) -> dict[str, Mapping[str, int]]:
    with ExitStack() as stack:
        stack.enter_context(program)
        program.wait_for_files()
        readers = {way: stack.enter_context(_Reader(way, program.directory)) for way in ways}
        drive(program)
        seen = {way: reader.stop() for way, reader in readers.items()}
    report(f"{program.folder.name}: {seen}")
    return seen


def _publish(bench: Rig, program: Program) -> None:
    for number in range(1, PUBLISHES + 1):
        bench.write("mixed-reads/both", stamp(number))
        request_status(program.socket, "POST", "/refresh", [], timeout=TIMEOUT)
        program.wait_for("one.env", f"{number:06}-")
        time.sleep(PACE)


def _write(bench: Rig, program: Program) -> None:
    number, end = 0, time.monotonic() + PEER_SECONDS
    while time.monotonic() < end:
        number += 1
        bench.write("mixed-reads/both", stamp(number))
        time.sleep(PACE)
    program.wait_for("two.env", f"{number:06}-")


class _Reader:
    """A process that reads both files as fast as it can."""

    def __init__(self, way: str, directory: Path) -> None:
        self._command = [sys.executable, __file__, way, directory]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process.stdout.readline()  # it has started to read
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> Mapping[str, int]:
        """End it. Returns what it has seen."""
        output, _ = self._process.communicate(timeout=TIMEOUT)
        return json.loads(output)


def _read(way: str, directory: str) -> None:
    seen = dict.fromkeys(("reads", *_FAULTS), 0)
    os.write(1, b"reading\n")
    while not select.select([0], [], [], 0)[0]:
        for _ in range(1 if way == "slowly" else _READS_PER_CHECK):
            _read_both(way, directory, seen)
    os.write(1, json.dumps(seen).encode())


def _read_both(way: str, directory: str, seen: dict[str, int]) -> None:
    """Read both files once: by path each is looked up separately, by descriptor both are in one folder."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    held = os.open(directory if way == "path" else f"{directory}/..data", flags)
    try:
        if way == "slowly":
            time.sleep(READ_DELAY)
        numbers = {_number(name, held, seen) for name in FILES}
    finally:
        os.close(held)
    seen["mixed"] += len(numbers - {None}) > 1


def _number(name: str, folder: int, seen: dict[str, int]) -> int | None:
    seen["reads"] += 1
    try:
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
            number = read_stamp(file.read())
    except FileNotFoundError:
        seen["missing"] += 1
        return None
    seen["partial"] += number is None
    return number


if __name__ == "__main__":
    _read(*sys.argv[1:])
