"""Kills `lessee rotate` at random moments, and measures how soon the published credential works."""

import os
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from database import format_seconds
from database_engine import seconds_until_it_works
from figures import Figure
from rig import MEMORY, TIMEOUT, report

from lessee.core.errors import LesseeError
from lessee.host.openbao import OpenBao
from support.environments.rotation_targets import RotationTarget
from support.systems import SYSTEMS, started_fast
from support.systems.postgres import OneRole

KILLS = 30
"""Of each kind."""
EARLY = 0.2
"""The share of kills up to the beginning of a rotation; the others are between its beginning and its end."""
BATCH = 10
"""Kills after which the duration of a rotation is measured again."""
BOUND = 30.0
_CLIENT = "client"
_NOTE = (
    "The peer is OpenBao's database engine with a static role, killed between PostgreSQL's commit and its own: it may "
    "still have the old password after 30 s."
)


def measure(kills: int = KILLS, kinds: Collection[str] = tuple(SYSTEMS)) -> Iterator[Figure]:
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4)))
    report(f"seed {seed}: SEED={seed} repeats this run")
    for name in kinds:
        yield _measure_kind(name, SYSTEMS[name], kills, Random(seed))  # noqa: S311  # The random moments are no secret.


def _measure_kind(name: str, system: Any, kills: int, chance: Random) -> Figure:
    longest, lockouts, orphans, caught = 0.0, 0, 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
        OpenBao(Path(folder)) as bao,
        started_fast(system, Path(folder)) as new,
        _client(RotationTarget(bao, folder, new(), **_settings(system))) as client,
    ):
        target = client.target
        for number in range(kills):
            if number % BATCH == 0:
                # The shortest of three: the first is slow, and other load may delay one.
                before, duration = map(min, zip(*(_rotate(target) for _ in range(3)), strict=True))
            if chance.random() < EARLY:
                target.rotate_and_kill_after(chance.uniform(0.0, before))
            else:
                target.rotate_and_kill_after(chance.uniform(0.0, duration), begun=True)
            caught += target.journal.is_open
            try:
                longest = max(longest, target.recover())
            except (AssertionError, LesseeError) as exc:
                report(f"{name}: {exc or 'the published credential does not work'}")
                lockouts += 1
            orphans = max(orphans, len(target.system.orphans(target.fields())))
    report(f"{name}: a rotation begins {before:.2f} s after its process and takes {duration:.2f} s")
    what = f"`{name}`: {kills} kills, {caught} during an open rotation: until the published credential works"
    text = f"{longest:.2f} s; {lockouts} lockouts, {orphans} keys left over"
    aim = "≤ 30 s; 0, 0"
    if client.logins:
        text, aim = f"{text}, {client.failed} of {client.logins:,} logins failed", f"{aim}, 0"
    met = longest <= BOUND and not lockouts and not orphans and not client.failed and 2 * caught >= kills
    peer = format_seconds(seconds_until_it_works(BOUND), BOUND) + ", 1 kill" if system is OneRole else ""
    return Figure(what, peer, text, f"{aim}; half in an open rotation", met, _NOTE if peer else "")


def _settings(system: Any) -> dict[str, Any]:
    """The settings of a target, which waits for a client where one logs in all the time."""
    has_client = getattr(system, "has_client", False)
    return {"consumers": [_CLIENT], "confirmation_timeout": f"{TIMEOUT:g}s"} if has_client else {}


class _Client:
    """An app that reads the secret, logs in, and confirms the version, again and again."""

    def __init__(self, target: RotationTarget) -> None:
        self.target = target
        self.logins = self.failed = 0
        self._ended = threading.Event()

    def run(self) -> None:
        path = f"secret/data/{self.target.environment}/{self.target.secret_path}"
        while not self._ended.is_set():
            answer = self.target.bao.ask("GET", path)["data"]
            version = answer["metadata"]["version"]
            self.logins += 1
            try:
                accepted = self.target.system.accepts(answer["data"])
            except Exception as exc:  # noqa: BLE001  # Whatever it is, the login failed.
                report(repr(exc))
                accepted = False
            if not accepted:
                report(f"login failed with version {version}")
                self.failed += 1
            self.target.confirm(_CLIENT, version=version)

    def end(self) -> None:
        self._ended.set()


@contextmanager
def _client(target: RotationTarget) -> Iterator[_Client]:
    """A client that runs where the kind has one."""
    client = _Client(target)
    thread = threading.Thread(target=client.run)
    if getattr(target.system, "has_client", False):
        thread.start()
    try:
        yield client
    finally:
        client.end()
        if thread.ident:
            thread.join()


def _rotate(target: RotationTarget) -> tuple[float, float]:
    """Seconds from the start of a rotator's process until its rotation begins, and from there to its end."""
    started = time.time()
    if target.rotate_and_kill_after(TIMEOUT):
        raise RuntimeError("a rotation does not end")
    begun = target.journal.started_at
    return begun - started, time.time() - begun


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--kind", action="append", choices=SYSTEMS, help="default: all")
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):
        for figure in measure(chosen.kills, chosen.kind or tuple(SYSTEMS)):
            sys.stdout.write(f"{figure}\n")
