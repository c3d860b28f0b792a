"""Counts failed queries and dropped connections of clients of PgBouncer while its password is rotated."""

import json
import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from database import database
from figures import Figure
from rig import MEMORY, Program, Rig, report

from support.environments.rotation_targets import RotationTarget
from support.paths import ROOT
from support.programs.pooled_clients import PooledClients
from support.servers.pgbouncer import PgBouncer
from support.servers.postgres import Postgres
from support.systems.postgres import LoginRoles, OneRole

ROTATIONS = 50
CLIENTS = 8
REVOKE_DELAY = "1s"
TERMINATE_DELAY = "1s"
_TEMPLATES = ROOT / "templates/pgbouncer"
_POLICY = """
path "secret/data/{0}/database/postgres"      {{ capabilities = ["read"] }}
path "secret/metadata/{0}/database/postgres"  {{ capabilities = ["read"] }}
path "secret/data/{0}/pgbouncer/clients"      {{ capabilities = ["read"] }}
path "secret/metadata/{0}/pgbouncer/clients"  {{ capabilities = ["read"] }}
path "secret/metadata/{0}/lessee/consumers/files/*" {{ capabilities = ["create", "update", "delete"] }}
"""
_KNOWN = "secret/metadata/{}/lessee/consumers/files?list=true"


def measure(rotations: int = ROTATIONS) -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.make_database()
        for kind, what, target in (
            (OneRole, "one role", ""),
            (LoginRoles, "two roles, and the sessions of the old one terminated", "0; 0"),
        ):
            clients = _rotate(bench, postgres, kind, rotations)
            text = f"{len(clients.errors)} of {clients.queries:,}; {clients.dropped}"
            name = f"PgBouncer: {rotations} rotations of the password behind, {CLIENTS} clients "
            name += f"whose connections stay open, {what}: failed queries; dropped connections"
            met = not clients.errors and not clients.dropped and len(clients.users) == kind.count if target else None
            yield Figure(name, "", text, target, met)


def _rotate(bench: Rig, postgres: Postgres, kind: type[LoginRoles], rotations: int) -> PooledClients:
    terminate = {"terminate": True, "terminate_delay": TERMINATE_DELAY} if kind.count > 1 else {}
    with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
        target = RotationTarget(
            bench.bao, folder, kind(postgres, **terminate), revoke_delay=REVOKE_DELAY, confirmation_timeout="60s"
        )
        target.system.sql("GRANT pg_signal_backend TO {admin}")
        target.put("pgbouncer/clients", app="not used")
        target.rotate(wait=False)
        for path in (bench.folder, Path(folder)):
            path.chmod(0o755)
        program = _agent(bench, target, Path(folder))
        with program:
            program.wait_for_files()
            with PgBouncer(Path(folder), program.directory) as pgbouncer:
                program.until(lambda: _is_known(target), "the agent's first confirmation")
                clients = PooledClients(pgbouncer.connect, CLIENTS)
                with clients.querying():
                    for number in range(rotations):
                        target.rotate()
                        if target.journal.missing:
                            raise RuntimeError("the agent did not confirm the rotation")
                        if number % 10 == 0:
                            report(f"{kind.__name__}: {number} rotations, {len(clients.errors)} failed queries")
    return clients


def _agent(bench: Rig, target: RotationTarget, folder: Path) -> Program:
    """An agent that renders the files of PgBouncer and signals it."""
    files = {key: bench.folder / f"{key} {target.environment}" for key in ("role_id_file", "secret_id_file")}
    for path, value in zip(
        files.values(), bench.bao.approle(target.environment, _POLICY.format(target.environment)), strict=True
    ):
        path.write_text(value)
    templates = {name: (_TEMPLATES / f"{name}.j2").read_text() for name in ("databases.ini", "userlist.txt")}
    notify = {"process": {"cmdline": f"pgbouncer {folder}/"}, "uid": 65534}
    program = bench.lessee_for({"files": (templates, notify)}, auth={key: str(path) for key, path in files.items()})
    config = json.loads(program.config.read_text())
    config["environment"] = target.environment
    config["apps"]["files"]["owner"] = f"{os.geteuid()}:65534"
    program.config.write_text(json.dumps(config))
    program.folder.chmod(0o755)
    return program


def _is_known(target: RotationTarget) -> bool:
    with suppress(RuntimeError):  # No agent has confirmed a version yet.
        return bool(target.bao.ask("GET", _KNOWN.format(target.environment)))
    return False


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=ROTATIONS)
    with suppress(KeyboardInterrupt):
        for figure in measure(parser.parse_args().rotations):
            sys.stdout.write(f"{figure}\n")
