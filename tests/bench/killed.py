"""What is left when `lessee rotate` is killed at any moment, and how soon the published credential works again."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from rig import Figure, tell

from lessee.host.openbao import OpenBao
from rotated import Rotated
from systems import SYSTEMS

KILLS = 200
REACH = 0.6
"""Seconds after the start of a rotator's process in which the kill comes: most rotations are over by then."""
BOUND = 30.0


def measure() -> Iterator[Figure]:
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4)))
    tell(f"seed {seed}: SEED={seed} makes the same kills")
    for name, system in SYSTEMS.items():
        yield from _of(name, system, Random(seed))  # noqa: S311  # It keeps no secret.


def _of(name: str, system: Any, chance: Random) -> Iterator[Figure]:
    longest, lockouts, orphans, caught = 0.0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder, OpenBao(Path(folder)) as bao, system.started(Path(folder)) as new:
        rotated = Rotated(bao, folder, new())
        for number in range(KILLS):
            rotated.killed_at(chance.uniform(0.0, REACH))
            caught += rotated.journal.is_open
            try:
                longest = max(longest, rotated.recover())
            except AssertionError:
                lockouts += 1
            orphans = max(orphans, len(rotated.system.orphans(rotated.fields())))
            if number % 50 == 49:
                tell(f"{name}: {number + 1} kills, {caught} with a rotation open, {lockouts} lockouts")
    kills = f"{name}: {KILLS} kills"
    yield Figure(f"{kills}: until the published credential works", "", f"{longest:.2f} s", "≤ 30 s", longest <= BOUND)
    yield Figure(f"{kills}: lockouts", "", str(lockouts), "0", not lockouts)
    yield Figure(f"{kills}: keys left over", "", str(orphans), "0", not orphans)
    yield Figure(f"{kills}: met an open rotation", "", str(caught))
