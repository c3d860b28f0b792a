"""An app behind PgBouncer: its connections outlive the rotations of a password that it never has."""

import os
from contextlib import closing, suppress

import pytest

from support.environments.rotation_targets import RotationTarget
from support.models.template_library import TEMPLATES, use
from support.programs.pooled_clients import PooledClients
from support.programs.sidecar import Sidecar, eventually
from support.servers.pgbouncer import PgBouncer
from support.servers.postgres import DATABASE
from support.systems.postgres import LoginRoles

CLIENTS = 8
ROTATIONS = 3
POOL = 8


@pytest.fixture
def target(bao, postgres, tmp_path):
    """Two login roles in turn, whose old sessions a rotation terminates."""
    (tmp_path / "target").mkdir()
    postgres.make_database()
    system = LoginRoles(postgres, terminate=True, terminate_delay="1s")
    target = RotationTarget(bao, tmp_path / "target", system, revoke_delay="1s", confirmation_timeout="60s")
    target.system.sql("GRANT pg_signal_backend TO {admin}")
    return target


@pytest.fixture
def sidecar(bao, target, tmp_path, memory):
    agent = Sidecar(bao.address, tmp_path, memory, environment=target.environment)
    agent.is_forked = True
    yield agent
    agent.close()


@pytest.mark.thorough
def test_no_query_fails_and_no_connection_is_dropped_while_the_password_is_rotated(target, sidecar, memory):
    memory.chmod(0o755)
    target.put("pgbouncer/clients", app="unused")
    target.rotate(wait=False)
    use(sidecar, "pgbouncer/databases.ini.j2", "pgbouncer/userlist.txt.j2", owner=f"{os.geteuid()}:65534")
    sidecar.web["notify"] = {"process": {"cmdline": f"pgbouncer {memory}/"}, "uid": 65534}
    sidecar.start()
    with PgBouncer(memory, sidecar.directory) as pgbouncer:
        eventually(lambda: is_known(target), "the confirmation of the agent")
        clients = PooledClients(pgbouncer.connect, CLIENTS)
        with clients.querying():
            eventually(lambda: clients.queries > CLIENTS, "the first queries")
            for _ in range(ROTATIONS):
                before = target.fields()
                # A login that runs when PgBouncer reloads counts as failed: the pool is full before that.
                eventually(lambda: sessions(target) == POOL, "a full pool")
                target.rotate()
                assert target.journal.missing == ()
                assert target.system.old_is_revoked(before)
                count = clients.queries
                eventually(lambda count=count: clients.queries > count + CLIENTS, "queries after the rotation")
    assert (clients.errors, clients.dropped) == ([], 0)
    assert clients.users == set(target.system.roles)
    sent = (pgbouncer.log, *pgbouncer.home.iterdir(), sidecar.log)
    assert not [file for file in sent if file.is_file() and target.fields()["password"] in file.read_text()]


@pytest.mark.thorough
def test_no_query_fails_while_leased_users_replace_each_other(bao, postgres, tmp_path, memory):
    memory.chmod(0o755)
    postgres.attach(bao, role="pooled", default_ttl="4s", max_ttl="4s")
    environment = f"pooled-{os.urandom(4).hex()}"
    bao.put(f"{environment}/database/postgres", host="127.0.0.1", port=postgres.port, database=DATABASE)
    bao.put(f"{environment}/pgbouncer/clients", app="unused")
    agent = Sidecar(bao.address, tmp_path, memory, environment=environment)
    agent.is_forked = True
    # As the README says.
    text = (TEMPLATES / "pgbouncer/databases.ini.j2").read_text()
    lease = '{% set login = dynamic("database/creds/pooled") %}'
    text = text.replace("[databases]", f"{lease}\n[databases]").replace("db.username", "login.username")
    agent.template("databases.ini.j2", text.replace("db.password", "login.password"))
    agent.template("userlist.txt.j2", (TEMPLATES / "pgbouncer/userlist.txt.j2").read_text())
    agent.web["owner"] = f"{os.geteuid()}:65534"
    agent.web["notify"] = {"process": {"cmdline": f"pgbouncer {memory}/"}, "uid": 65534}
    with closing(agent), PgBouncer(memory, agent.start().directory) as pgbouncer:
        clients = PooledClients(pgbouncer.connect, CLIENTS)
        with clients.querying():
            eventually(lambda: len(clients.users) > ROTATIONS, "queries of the users of several leases")
    assert (clients.errors, clients.dropped) == ([], 0)


def is_known(target):
    """Whether the agent has confirmed a version, so that rotations wait for it."""
    with suppress(RuntimeError):
        return target.bao.ask("GET", f"secret/metadata/{target.environment}/lessee/consumers/web?list=true")
    return False


def sessions(target):
    """How many sessions the published role has."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    return target.system.postgres.sql(query, target.fields()["username"])[0][0]
