"""Kills rotations of admins at random moments, while clients log in with what is published."""

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

from figures import Figure
from rig import MEMORY, TIMEOUT, report

from lessee.core.errors import LesseeError
from lessee.host.openbao import OpenBao
from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.systems import SYSTEMS, started_fast

KILLS = 30
"""Of each kind."""
KINDS = ("secret-id", "database-root", "postgres-admins", "s3-admin")
GRACE = "1s"
"""For which what was published before stays valid: a client may just have read it."""
_NOTE = (
    "OpenBao answers some requests for credentials with 500 while it changes its root credential; the client repeats "
    "them, as an agent does."
)


class Client(threading.Thread):
    """Reads the secret, and logs in as its clients do, until `over` is set."""

    def __init__(self, target: RotationTarget) -> None:
        super().__init__(daemon=True)
        self._target = target
        self.over = threading.Event()
        self.logins = self.failed = self.repeated = 0

    def run(self) -> None:
        while not self.over.is_set():
            works = self._log_in()
            self.logins += 1
            self.failed += not works

    def _log_in(self) -> bool:
        system = self._target.system
        if hasattr(system, "log_in"):
            return bool(system.log_in())
        if not hasattr(system, "issue"):
            return bool(system.accepts(self._target.fields()))
        while (lease := system.issue()) is None and not self.over.is_set():
            self.repeated += 1
            time.sleep(0.05)
        return lease is None or bool(system.can_log_in(lease))


def measure(kills: int = KILLS, kinds: Collection[str] = KINDS) -> Iterator[Figure]:
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4)))
    report(f"seed {seed}: SEED={seed} repeats this run")
    for name in kinds:
        yield _measure_kind(name, kills, Random(seed))  # noqa: S311  # The random moments are no secret.


def _measure_kind(name: str, kills: int, chance: Random) -> Figure:
    lockouts, leftover, caught = 0, 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
        OpenBao(Path(folder)) as bao,
        started_fast(SYSTEMS[name], Path(folder)) as new,
    ):
        target = RotationTarget(bao, folder, new(), revoke_delay=GRACE)
        target.confirm(version=FUTURE_VERSION)
        duration = min(_duration(target) for _ in range(3))
        with _client(target) as client:
            for _ in range(kills):
                target.rotate_and_kill_after(chance.uniform(0.0, duration), begun=True)
                caught += target.journal.is_open
                try:
                    target.recover()
                except (AssertionError, LesseeError) as exc:
                    report(f"{name}: {exc or 'the published credential does not work'}")
                    lockouts += 1
                leftover = max(leftover, len(target.system.orphans(target.fields())))
    what = f"`{name}`: {kills} kills, {caught} during an open rotation, and {client.logins} logins of a client"
    text = f"{lockouts} lockouts, {leftover} keys left over, {client.failed} failed logins"
    met = not lockouts and not leftover and not client.failed and client.logins > kills and 2 * caught >= kills
    return Figure(what, "", text, "0, 0, 0", met, _NOTE if client.repeated else "")


@contextmanager
def _client(target: Any) -> Iterator[Client]:
    client = Client(target)
    client.start()
    try:
        yield client
    finally:
        client.over.set()
        client.join()


def _duration(target: RotationTarget) -> float:
    """Seconds that a rotation takes."""
    if target.rotate_and_kill_after(TIMEOUT):
        raise RuntimeError("a rotation does not end")
    return time.time() - target.journal.started_at if target.journal.started_at else 0.0


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    with suppress(KeyboardInterrupt):
        for figure in measure(parser.parse_args().kills):
            sys.stdout.write(f"{figure}\n")
            sys.stdout.flush()
