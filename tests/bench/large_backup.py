"""Measures a backup of many secrets: the time of a save and of a verification, and the memory that they take."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from backup import Run, configure, run
from figures import Figure
from rig import report, rig

from lessee.host.openbao import OpenBao
from support.environments.backups import make_key

SECRETS, VERSIONS = 100_000, 3
IN_A_FOLDER = 100
SAVE, VERIFY = 180.0, 480.0
"""Seconds for 100,000 secrets; fewer may take as much of them."""
MEMORY = 200.0
"""MiB of lessee's processes. The private server holds all secrets in its own memory, which does not count."""


def measure(secrets: int = SECRETS) -> Iterator[Figure]:
    with rig() as bench:
        report(f"writing {secrets:,} secrets in {VERSIONS} versions each")
        _fill(bench.bao, secrets)
        make_key(bench.folder / "key")
        configure(bench, bench.bao.address)
        report("saving")
        save = run(bench, "save", "--quiet", search=False)
        report("verifying")
        verify = run(bench, "verify", "latest", "--quiet", search=False)
        share = secrets / SECRETS
        met = save.code == verify.code == 0 and save.seconds <= SAVE * share and verify.seconds <= VERIFY * share
        yield Figure(
            f"`lessee backup` of {secrets:,} secrets in {VERSIONS} versions each: save / verify",
            "",
            f"{save.seconds:.0f} / {verify.seconds:.0f} s",
            f"≤ {SAVE * share:.0f} / ≤ {VERIFY * share:.0f} s",
            met,
        )
        yield _memory(save, verify)


def _memory(*runs: Run) -> Figure:
    found = " / ".join(f"{one.peak:.0f}" for one in runs)
    return Figure("… peak memory", "", f"{found} MiB", f"≤ {MEMORY:.0f} MiB", max(one.peak for one in runs) <= MEMORY)


def _fill(bao: OpenBao, secrets: int) -> None:
    def write(number: int) -> None:
        for version in range(VERSIONS):
            path = f"large/{number // IN_A_FOLDER}/{number}"
            bao.put(path, user=f"user-{number}", value=f"value-{number}-{version}" * 4)

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(write, range(secrets)):
            pass


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=int, default=SECRETS)
    for figure in measure(parser.parse_args().secrets):
        sys.stdout.write(f"{figure.name}: {figure.lessee} (target {figure.target}, met: {figure.met})\n")
