"""Measures the time from the response to a KV write until a new child has the value in its environment."""

import time
from collections.abc import Callable, Iterator
from itertools import chain
from random import SystemRandom
from statistics import median

import children
from figures import Figure
from rig import Program, Rig, alternate, rig

REPETITIONS = 2
CHANGES = 20
"""Per repetition: 40 in total."""
PEER_CHANGES = 10
MEDIAN = 1.0
_RANDOM = SystemRandom()


def measure() -> Iterator[Figure]:
    with rig() as bench:
        took = alternate(
            REPETITIONS,
            peer=lambda: _changes(bench, children.peer, PEER_CHANGES),
            lessee=lambda: _changes(bench, children.lessee, CHANGES),
        )
    theirs, ours = (list(chain.from_iterable(took[side])) for side in ("peer", "lessee"))
    changes = f"{len(ours)} changes ({len(theirs)} of the peer)"
    name = f"KV write → a new child has it in its environment, `refresh_interval: 1s`, {changes}"
    peer, mine = (f"{median(times):.2f} / {max(times):.2f} s" for times in (theirs, ours))
    yield Figure(f"{name}: median / longest", peer, mine, f"≤ {MEDIAN:.0f} s / any", median(ours) <= MEDIAN)


def _changes(bench: Rig, make: Callable[..., Program], count: int) -> list[float]:
    bench.write("replacement/one", "first")
    file = bench.folder / "starts"
    file.unlink(missing_ok=True)
    program = make(bench, "replacement/one", children.child(file))
    with children.running(program):
        took = []
        program.until(lambda: children.starts(file), "a child")
        for number in range(count):
            # Writes at random moments between two polls of the agent.
            time.sleep(_RANDOM.uniform(0.0, 1.0))
            value = f"{program.folder.name}-{number}"
            bench.write("replacement/one", value)
            answered = time.monotonic()
            program.until(lambda value=value: children.starts(file)[-1].value == value, "a new child")
            took.append(children.starts(file)[-1].at - answered)
    return took
