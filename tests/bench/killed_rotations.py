"""What is left when `lessee rotate` is killed at any moment, and how soon the published credential works again."""

import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from database import format_seconds
from database_engine import seconds_until_it_works
from rig import MEMORY, TIMEOUT, Figure, report

from lessee.core.errors import LesseeError
from lessee.host.openbao import OpenBao
from support.environments.rotation_targets import RotationTarget
from support.systems import SYSTEMS, started_fast
from support.systems.postgres import OneRole

KILLS = 30
"""Of each kind."""
EARLY = 0.2
"""The part of them that comes before a rotation begins, or as it begins; the others come until it has ended."""
AGAIN = 10
"""After so many it is measured anew how long a rotation takes."""
BOUND = 30.0


def measure(kills: int = KILLS) -> Iterator[Figure]:
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4)))
    report(f"seed {seed}: SEED={seed} gives the same chances")
    for name, system in SYSTEMS.items():
        yield _of(name, system, kills, Random(seed))  # noqa: S311  # It keeps no secret.


def _of(name: str, system: Any, kills: int, chance: Random) -> Figure:
    longest, lockouts, orphans, caught = 0.0, 0, 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
        OpenBao(Path(folder)) as bao,
        started_fast(system, Path(folder)) as new,
    ):
        target = RotationTarget(bao, folder, new())
        for number in range(kills):
            if number % AGAIN == 0:
                # The least of three: the very first one takes long, and the machine may have other things to do.
                before, takes = map(min, zip(*(_whole(target) for _ in range(3)), strict=True))
            if chance.random() < EARLY:
                target.rotate_and_kill_after(chance.uniform(0.0, before))
            else:
                target.rotate_and_kill_after(chance.uniform(0.0, takes), begun=True)
            caught += target.journal.is_open
            try:
                longest = max(longest, target.recover())
            except (AssertionError, LesseeError) as exc:
                report(f"{name}: {exc or 'the published credential does not work'}")
                lockouts += 1
            orphans = max(orphans, len(target.system.orphans(target.fields())))
    report(f"{name}: a rotation begins {before:.2f} s after its process and takes {takes:.2f} s")
    what = f"`{name}`: {kills} kills, {caught} of them in an open rotation: until the published credential works"
    came = f"{longest:.2f} s; {lockouts} lockouts, {orphans} keys left over"
    met = longest <= BOUND and not lockouts and not orphans and 2 * caught >= kills
    peer = format_seconds(seconds_until_it_works(BOUND), BOUND) + ", 1 kill" if system is OneRole else ""
    return Figure(what, peer, came, "≤ 30 s; 0, 0; half in an open one", met)


def _whole(target: RotationTarget) -> tuple[float, float]:
    """Seconds from the start of a rotator's process until its rotation begins, and from then on until it has ended."""
    started = time.time()
    if target.rotate_and_kill_after(TIMEOUT):
        raise RuntimeError("a rotation does not end")
    begun = target.journal.started_at
    return begun - started, time.time() - begun


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    with suppress(KeyboardInterrupt):
        for figure in measure(parser.parse_args().kills):
            sys.stdout.write(f"{figure}\n")
