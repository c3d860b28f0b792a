"""Counts the zombies that 40 orphans leave under PID 1."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import children
from database import seconds_until
from figures import Figure
from rig import Program, Rig, pids, rig

ORPHANS = 40
CAP = 5.0
"""Seconds after the end of the orphans in which zombies may still be reaped."""
# Its grandchildren are orphans from the start, and end together when a named pipe is opened.
_MAKER = """
import os, signal, sys
count, created, end = sys.argv[1:]
ended, held = os.pipe()
for _ in range(int(count)):
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(held)
            os.read(ended, 1)
        os._exit(0)
    os.wait()
open(created, "w").close()
open(end).close()
os.close(held)
while True:
    signal.pause()
"""


def measure() -> Iterator[Figure]:
    if not children.can_unshare_pids():
        return
    with rig() as bench:
        bench.write("orphans/one", "x")
        theirs, ours = _zombies(bench, children.peer), _zombies(bench, children.lessee)
    yield Figure(f"zombies that {ORPHANS} orphans leave under it as PID 1", str(theirs), str(ours), "0", not ours)


def _zombies(bench: Rig, make: Callable[..., Program]) -> int:
    created, end = bench.folder / "created", bench.folder / "end"
    created.unlink(missing_ok=True)
    end.unlink(missing_ok=True)
    os.mkfifo(end)
    program = make(bench, "orphans/one", children.script(_MAKER, ORPHANS, created, end), before=children.PID_NAMESPACE)
    with program:
        program.until(created.exists, "the orphans")
        (init,) = _children(program.process.pid)
        init = pids(init)[-1]
        assert len(_children(init)) == ORPHANS + 1, "the orphans were not reparented to PID 1"
        end.write_text("")
        program.until(lambda: list(_children(init).values()).count("Z") + 1 == len(_children(init)), "their end")
        seconds_until(lambda: len(_children(init)) == 1, time.monotonic(), CAP)
        return len(_children(init)) - 1


def _children(parent: int) -> dict[int, str]:
    """The pids of a process's children and their states; Z is a zombie."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has ended.
            state, its_parent = entry.read_text().rpartition(") ")[2].split()[:2]
            if int(its_parent) == parent:
                found[int(entry.parent.name)] = state
    return found
