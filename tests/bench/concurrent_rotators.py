"""Counts the rotations of twenty rotators that start at the same time."""

import subprocess
import tempfile
from collections.abc import Iterator

from database import database
from figures import Figure
from rig import LESSEE, MEMORY, TIMEOUT, environ, report

from lessee.host.openbao import ROOT_TOKEN
from support.environments.rotation_targets import RotationTarget
from support.systems.postgres import LoginRoles

ROTATORS = 20
TIMES = 5


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres), tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
        target = RotationTarget(bench.bao, folder, LoginRoles(postgres))
        made = [_rotate_concurrently(target) for _ in range(TIMES)]
        if not target.system.accepts(target.fields()):
            raise RuntimeError("the published credential does not work")
    name = f"rotations of {ROTATORS} concurrent `lessee rotate --force`, {TIMES} times: the most, the least"
    yield Figure(name, "", f"{max(made)}, {min(made)}", "1, 1", set(made) == {1})


def _rotate_concurrently(target: RotationTarget) -> int:
    """Count the rotations. Raises RuntimeError if a rotator fails."""
    command = [*LESSEE, "rotate", target.name, "--force", "--log-level", "error"]
    env = {**environ(target.folder), "VAULT_TOKEN": ROOT_TOKEN}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before = target.metadata()["current_version"]
    started = [subprocess.Popen(command, cwd=target.folder, env=env, **quiet) for _ in range(ROTATORS)]
    codes = [process.wait(TIMEOUT) for process in started]
    if any(codes):
        raise RuntimeError(f"exit codes of the rotators: {codes}")
    made = int(target.metadata()["current_version"]) - before
    report(f"{ROTATORS} rotators: {made} rotations")
    return made
