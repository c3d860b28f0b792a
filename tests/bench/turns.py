"""Whether workers can log in at any moment while their role's password is rotated; run as a program, it is they."""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NoReturn

import psycopg
from database import database
from rig import MEMORY, PATIENCE, Figure, Rig, tell

from lessee.host.openbao import ROOT_TOKEN
from postgres import Postgres
from rotated import Rotated
from systems.postgres import LoginRoles, OneRole

ROTATIONS = 100
WORKERS = 8
PACE = 0.02
"""Seconds from a worker's login to its next."""
REFRESH = "200ms"
WITHIN = "1s"
"""Nobody confirms, and so each rotation takes as long: five looks of the agent's."""
REACH = 1.5
_TEMPLATE = """\
{% set db = secret("database/postgres") %}{{ {"user": db.username, "password": db.password} | json }}
"""


@dataclass(slots=True)
class Seen:
    """What the workers have seen together."""

    logins: int = 0
    failed: int = 0
    changes: int = 0


def measure(rotations: int = ROTATIONS) -> Iterator[Figure]:
    with database() as (bench, postgres):
        single, _ = _rotate_meanwhile(bench, postgres, OneRole, rotations)
        seen, took = _rotate_meanwhile(bench, postgres, LoginRoles, rotations)
    name = f"failed logins of {WORKERS} workers while their credentials are rotated"
    yield Figure(f"{name}: a single role", "", _told(single, rotations))
    whole = not seen.failed and seen.changes >= WORKERS * rotations
    yield Figure(f"{name}: two roles", "", _told(seen, rotations), f"0 in {rotations}", whole)
    for part, reach in (("published", None), ("retired", REACH)):
        times = [one[part] for one in took]
        said = f"{median(times):.2f} s, {quantiles(times, n=20)[-1]:.2f} s"
        name = f"a rotation's own time until the new one is {part}: median, p95"
        yield Figure(name, "", said, f"≤ {reach} s" if reach else "", median(times) <= reach if reach else None)


def _told(seen: Seen, rotations: int) -> str:
    return f"{seen.failed:,} of {seen.logins:,} in {rotations}"


def _rotate_meanwhile(
    bench: Rig, postgres: Postgres, kind: type[LoginRoles], rotations: int
) -> tuple[Seen, list[Mapping[str, float]]]:
    """What the workers saw, and how long each rotation took until it had published, and until it had retired."""
    with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
        rotated = Rotated(bench.bao, folder, kind(postgres), confirm_within=WITHIN)
        program = bench.lessee_for({"files": ({"db.json": _TEMPLATE}, None)})
        config = json.loads(program.config.read_text())
        config |= {
            "environment": rotated.environment,
            "vault": rotated.config["vault"],
            "secrets": {"refresh": REFRESH},
        }
        program.config.write_text(json.dumps(config))
        program.environ["VAULT_TOKEN"] = ROOT_TOKEN
        file = program.directory / "db.json"
        with program:
            program.wait_for_files()
            with _Workers(postgres, rotated.fields()["database"], file) as workers:
                took = [_one(rotated, number) for number in range(rotations)]
                program.until(lambda: rotated.fields()["password"] in file.read_text(), "the last value")
                time.sleep(10 * PACE)
                seen = workers.seen()
    tell(f"{kind.__name__}: {seen}")
    return seen, took


def _one(rotated: Rotated, number: int) -> Mapping[str, float]:
    rotated.rotate()
    ended, journal = time.time(), rotated.journal
    published = journal.published_at - journal.started_at
    if number % 10 == 0:
        tell(f"{number} rotations, {published:.3f} s until published")
    # In between it waited for those who confirm.
    return {"published": published, "retired": published + ended - journal.confirmed_at}


class _Workers:
    """A process of threads, each of which logs in anew with what stands in the file."""

    def __init__(self, postgres: Postgres, name: str, file: Path) -> None:
        self._command = [sys.executable, __file__, "--log-in", str(postgres.port), name, str(file)]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.seen()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def seen(self) -> Seen:
        """What they have seen so far."""
        self._process.stdin.write(b"say\n")
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise RuntimeError("the workers are silent")
        return Seen(**json.loads(self._process.stdout.readline()))


def _serve(port: str, name: str, file: str) -> None:
    each = [Seen() for _ in range(WORKERS)]
    for seen in each:
        threading.Thread(target=_log_in_on, args=(port, name, Path(file), seen), daemon=True).start()
    for _ in sys.stdin:
        sums = {key: sum(asdict(seen)[key] for seen in each) for key in ("logins", "failed", "changes")}
        os.write(1, json.dumps(sums).encode() + b"\n")


def _log_in_on(port: str, name: str, file: Path, seen: Seen) -> NoReturn:
    before: Any = None
    while True:
        fields = json.loads(file.read_text())
        seen.logins += 1
        try:
            psycopg.connect(host="127.0.0.1", port=port, dbname=name, **fields).close()
        except psycopg.Error:
            seen.failed += 1
        seen.changes += before is not None and before != fields
        before = fields
        time.sleep(PACE)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=ROTATIONS)
    parser.add_argument("--log-in", nargs=3, metavar=("PORT", "DATABASE", "FILE"))
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        if arguments.log_in:
            _serve(*arguments.log_in)
        else:
            for figure in measure(arguments.rotations):
                sys.stdout.write(f"{figure}\n")
