"""Counts failed logins of clients while rotators of their credentials are killed at random moments."""

import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from figures import Figure
from rig import MEMORY, report

from lessee.core.errors import LesseeError
from lessee.host.openbao import OpenBao
from support.environments.rotation_targets import RotationTarget
from support.environments.verified_clients import REVOKE_DELAY, Clients, verified_clients
from support.systems.verified import AgeIdentities, BasicAuthUsers, JwtKeys, SigningKeys, SshKeys, TotpSeeds, Verified

KILLS = 30
"""Of each kind."""
KINDS: dict[str, type[Verified]] = {
    "age-identity": AgeIdentities,
    "basic-auth": BasicAuthUsers,
    "jwt-key": JwtKeys,
    "signing-key": SigningKeys,
    "ssh-key": SshKeys,
    "totp": TotpSeeds,
}


def measure(kills: int = KILLS, kinds: Collection[str] = tuple(KINDS)) -> Iterator[Figure]:
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4)))
    report(f"seed {seed}: SEED={seed} repeats this run")
    for name in kinds:
        with (
            tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
            OpenBao(Path(folder)) as bao,
        ):
            for part in ("disk", "memory"):
                (Path(folder) / part).mkdir()
            disk, memory = Path(folder) / "disk", Path(folder) / "memory"
            with verified_clients(bao, disk, memory, KINDS[name]) as (target, clients):
                yield _measure_kind(name, target, clients, kills, Random(seed))  # noqa: S311  # No secret.


def _measure_kind(name: str, target: RotationTarget, clients: Clients, kills: int, chance: Random) -> Figure:
    lockouts, orphans, caught = 0, 0, 0
    for _ in range(kills):
        target.rotate_and_kill_after(chance.uniform(0.0, REVOKE_DELAY), begun=True)
        caught += target.journal.is_open
        try:
            target.recover()
        except (AssertionError, LesseeError) as exc:
            report(f"{name}: {exc or 'the published credential does not work'}")
            lockouts += 1
        orphans = max(orphans, len(target.system.orphans(target.fields())))
    clients.stop()
    for failure in clients.failures[:5]:
        report(f"{name}: failed login: {failure}")
    failed = len(clients.failures)
    what = f"`{name}`: {kills} kills, {caught} during an open rotation: failed logins of a client that never pauses"
    text = f"{failed} of {clients.logins:,}; {lockouts} lockouts, {orphans} keys left over"
    met = not failed and not lockouts and not orphans and 2 * caught >= kills
    return Figure(what, "", text, "0; 0, 0; half in an open rotation", met)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    with suppress(KeyboardInterrupt):
        for figure in measure(parser.parse_args().kills):
            sys.stdout.write(f"{figure}\n")
            sys.stdout.flush()
