"""How many rotations twenty rotators make that begin at once."""

import subprocess
import tempfile
from collections.abc import Iterator

from database import database
from rig import LESSEE, MEMORY, TIMEOUT, Figure, environ, report

from lessee.host.openbao import ROOT_TOKEN
from support.environments.rotation_targets import RotationTarget
from support.systems.postgres import LoginRoles

ROTATORS = 20
TIMES = 5


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres), tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
        target = RotationTarget(bench.bao, folder, LoginRoles(postgres))
        made = [_at_once(target) for _ in range(TIMES)]
        if not target.system.accepts(target.fields()):
            raise RuntimeError("the published credential does not work")
    name = f"rotations of {ROTATORS} `lessee rotate --force` at once, {TIMES} times: the most, the least"
    yield Figure(name, "", f"{max(made)}, {min(made)}", "1, 1", set(made) == {1})


def _at_once(target: RotationTarget) -> int:
    """Raises RuntimeError where one of them fails."""
    command = [*LESSEE, "rotate", target.name, "--force", "--log-level", "error"]
    env = {**environ(target.folder), "VAULT_TOKEN": ROOT_TOKEN}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before = target.metadata()["current_version"]
    started = [subprocess.Popen(command, cwd=target.folder, env=env, **quiet) for _ in range(ROTATORS)]
    codes = [process.wait(TIMEOUT) for process in started]
    if any(codes):
        raise RuntimeError(f"they end with {codes}")
    made = int(target.metadata()["current_version"]) - before
    report(f"{ROTATORS} at once: {made}")
    return made
