"""Counts workers' failed logins while their role's password is rotated; run as a program, it is a worker."""

import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import NoReturn

import psycopg
from database import database, seconds_until
from figures import Figure
from rig import LESSEE, MEMORY, TIMEOUT, Program, Rig, environ, report

from lessee.host.openbao import ROOT_TOKEN
from support.environments.rotation_targets import RotationTarget
from support.servers.postgres import Postgres
from support.systems.postgres import LoginRoles, OneRole

ROTATIONS = 100
WORKERS = 8
PACE = 0.02
"""Seconds from a worker's login to its next."""
REFRESH = "1s"
CONFIRMATION_TIMEOUT = "60s"
"""Long enough that the agent always confirms."""
REVOKE_DELAY = "5s"
"""The default: a worker that read the file just before the last confirmation may log in after it."""
REACH = 1.5
_TEMPLATE = """\
{% set db = secret("database/postgres") %}{{ {"user": db.username, "password": db.password} | json }}
"""
_POLICY = """
path "secret/data/{0}/database/postgres"      {{ capabilities = ["read"] }}
path "secret/metadata/{0}/database/postgres"  {{ capabilities = ["read"] }}
path "secret/metadata/{0}/lessee/consumers/files/*" {{ capabilities = ["create", "update", "delete"] }}
"""
_KNOWN = "secret/metadata/{}/lessee/consumers/files?list=true"


@dataclass(slots=True)
class Seen:
    """The logins of all workers."""

    logins: int = 0
    failed: int = 0
    changes: int = 0


def measure(rotations: int = ROTATIONS) -> Iterator[Figure]:
    with database() as (bench, postgres):
        with _with_workers(bench, postgres, OneRole) as (target, file, seen):
            for _ in range(rotations):
                _change(target)
                _until(lambda: target.fields()["password"] in file.read_text())
            single = seen()
            report(f"a single role: {single}")
        with _with_workers(bench, postgres, LoginRoles) as (target, _, seen):
            took = [_rotate(target, number) for number in range(rotations)]
            double = seen()
            report(f"two roles: {double}")
    name = f"failed logins of {WORKERS} workers while their credentials are changed {rotations} times"
    yield Figure(f"{name}: one role, `ALTER ROLE` and then a write to KV", "", _cell(single))
    met = not double.failed and double.changes >= WORKERS * rotations
    yield Figure(f"{name}: two roles, `lessee rotate --force`", "", _cell(double), "0", met)
    name = "from a rotation's start until all have confirmed: median, p95"
    text = f"{median(took):.2f} s, {quantiles(took, n=20)[-1]:.2f} s"
    yield Figure(name, "", text, f"≤ {REACH} s", median(took) <= REACH)


def _cell(seen: Seen) -> str:
    return f"{seen.failed:,} of {seen.logins:,}"


@contextmanager
def _with_workers(
    bench: Rig, postgres: Postgres, kind: type[LoginRoles]
) -> Iterator[tuple[RotationTarget, Path, Callable[[], Seen]]]:
    """A rotation target, the file that an agent renders from it, and the logins of the workers that read the file."""
    with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
        target = RotationTarget(
            bench.bao, folder, kind(postgres), confirmation_timeout=CONFIRMATION_TIMEOUT, revoke_delay=REVOKE_DELAY
        )
        target.rotate(wait=False)  # Agents only confirm versions of secrets that are rotated.
        program = _agent(bench, target)
        file = program.directory / "db.json"
        with program:
            program.wait_for_files()
            program.until(lambda: _is_known(target), "the agent's first confirmation")
            target.rotate(finish_only=True)
            with _Workers(postgres, target.fields()["database"], file) as workers:
                yield target, file, workers.seen


def _agent(bench: Rig, target: RotationTarget) -> Program:
    """An agent with an app's policy."""
    files = {key: bench.folder / f"{key} {target.environment}" for key in ("role_id_file", "secret_id_file")}
    given = bench.bao.approle(target.environment, _POLICY.format(target.environment))
    for path, value in zip(files.values(), given, strict=True):
        path.write_text(value)
    auth = {key: str(path) for key, path in files.items()}
    program = bench.lessee_for({"files": ({"db.json": _TEMPLATE}, None)}, auth=auth)
    config = json.loads(program.config.read_text())
    config |= {"environment": target.environment, "secrets": {"refresh_interval": REFRESH}}
    program.config.write_text(json.dumps(config))
    return program


def _is_known(target: RotationTarget) -> bool:
    with suppress(RuntimeError):  # No agent has confirmed a version yet.
        return bool(target.bao.ask("GET", _KNOWN.format(target.environment)))
    return False


def _rotate(target: RotationTarget, number: int) -> float:
    """Rotate by the command. Returns the seconds until all apps had confirmed, from the rotation's journal."""
    command = [*LESSEE, "rotate", target.name, "--force", "--log-level", "error"]
    environment = {**environ(target.folder), "VAULT_TOKEN": ROOT_TOKEN}
    before = target.journal.propagation_times
    subprocess.run(command, cwd=target.folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    journal = target.journal
    if journal.propagation_times == before:
        raise RuntimeError(f"apps that did not confirm the rotation: {journal.missing}")
    if number % 10 == 0:
        report(f"{number} rotations, {journal.propagation_times[-1]:.3f} s")
    return journal.propagation_times[-1]


def _change(target: RotationTarget) -> None:
    """Rotate as a rotator with a single role does."""
    password = secrets.token_urlsafe(24)
    text = psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}")
    role = psycopg.sql.Identifier(target.fields()["username"])
    target.system.postgres.sql(text.format(role, psycopg.sql.Literal(password)))
    target.put(target.secret_path, **{**target.fields(), "password": password})


def _until(condition: Callable[[], object]) -> None:
    if seconds_until(condition, time.monotonic(), TIMEOUT) is None:
        raise RuntimeError("the file does not change")


class _Workers:
    """Processes that log in again and again with the content of the file."""

    def __init__(self, postgres: Postgres, name: str, file: Path) -> None:
        self._command = [sys.executable, __file__, "--log-in", str(postgres.port), name, str(file)]

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self._processes = [subprocess.Popen(self._command, **pipes) for _ in range(WORKERS)]
        self.seen()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def seen(self) -> Seen:
        """Their logins until now. Each logs in once more before it answers."""
        for process in self._processes:
            process.stdin.write(b"report\n")
        counts = [self._read(process) for process in self._processes]
        return Seen(*(sum(one[key] for one in counts) for key in ("logins", "failed", "changes")))

    @staticmethod
    def _read(process: subprocess.Popen[bytes]) -> Mapping[str, int]:
        if not select.select([process.stdout], [], [], TIMEOUT)[0]:
            raise RuntimeError("a worker does not answer")
        counts: Mapping[str, int] = json.loads(process.stdout.readline())
        return counts


def _log_in(port: str, name: str, file: str) -> NoReturn:
    seen, before = Seen(), None
    while True:
        # It answers a request after the next login.
        is_requested = select.select([0], [], [], PACE)[0] and os.read(0, 100)
        fields = json.loads(Path(file).read_text())
        seen.logins += 1
        try:
            psycopg.connect(host="127.0.0.1", port=port, dbname=name, **fields).close()
        except psycopg.Error:
            seen.failed += 1
        seen.changes += before is not None and before != fields
        before = fields
        if is_requested:
            os.write(1, json.dumps(asdict(seen)).encode() + b"\n")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=ROTATIONS)
    parser.add_argument("--log-in", nargs=3, metavar=("PORT", "DATABASE", "FILE"))
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        if arguments.log_in:
            _log_in(*arguments.log_in)
        else:
            for figure in measure(arguments.rotations):
                sys.stdout.write(f"{figure}\n")
