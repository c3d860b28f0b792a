"""The rotation of PostgreSQL's login roles, in addition to the contract of all kinds."""

import logging
import os
import socket
import threading
from contextlib import ExitStack, closing, suppress
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pytest

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget
from support.programs.sidecar import eventually
from support.systems.postgres import PASSWORD, LoginRoles, OneRole


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: RotationTarget(bao, tmp_path, kind(postgres, **settings))


def is_alive(session):
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


# Roles


def test_the_roles_alternate(new):
    target = new()
    names = []
    for _ in range(3):
        target.rotate()
        names.append(target.fields()["username"])
    first, second = target.system.roles
    assert names == [second, first, second]
    assert len(target.fields()["password"]) >= 32


def test_objects_of_either_role_belong_to_the_owner_and_the_other_role_can_use_them(new):
    target = new()
    system = target.system
    target.rotate()  # A role acts as the owner only after its own rotation.
    table = psycopg.sql.Identifier(system.schema, "things")
    with closing(system.connect(target.fields())) as session:
        session.execute(psycopg.sql.SQL("CREATE TABLE {} (name text)").format(table))
        session.execute(psycopg.sql.SQL("INSERT INTO {} VALUES ('one')").format(table))
    target.rotate()
    with closing(system.connect(target.fields())) as session:
        session.execute(psycopg.sql.SQL("ALTER TABLE {} ADD more int").format(table))
        assert session.execute(psycopg.sql.SQL("SELECT * FROM {}").format(table)).fetchall() == [("one", None)]
        owner = session.execute("SELECT tableowner FROM pg_tables WHERE schemaname = %s", (system.schema,)).fetchone()
    assert owner == (system.owner,)


def test_the_first_rotation_does_not_revoke_a_user_outside_roles(new, caplog):
    target = new()
    system = target.system
    system.sql("CREATE ROLE {other} LOGIN PASSWORD {first}", other=f"other-{system.schema}")
    before = {**target.fields(), "username": f"other-{system.schema}"}
    target.put(target.secret_path, **before)
    with caplog.at_level(logging.WARNING, "lessee"):
        target.rotate()
    assert target.fields()["username"] == system.roles[0]
    assert system.accepts(before)
    assert "old user not revoked" in caplog.messages


def test_a_single_role_gets_a_new_password_and_the_interruption_is_logged_once(new, caplog):
    target = new(OneRole)
    with caplog.at_level(logging.WARNING, "lessee"):
        target.rotate()
    assert target.fields()["username"] == target.system.roles[0]
    assert caplog.messages == ["password change interrupts logins"]


# Sessions


def test_sessions_of_the_old_role_continue(new):
    target = new()
    with closing(target.system.connect(target.fields())) as session:
        target.rotate()
        target.rotate()
        assert is_alive(session)


@pytest.mark.parametrize("kind", [LoginRoles, OneRole])
def test_terminate_ends_sessions_of_the_old_role(new, kind):
    target = new(kind, terminate=True)
    target.system.sql("GRANT pg_signal_backend TO {admin}")
    with closing(target.system.connect(target.fields())) as session:
        target.rotate()
        assert not is_alive(session)
    assert target.system.accepts(target.fields())


def test_terminate_delay_ends_sessions_after_the_delay(new):
    target = new(terminate=True, terminate_delay="1h")
    target.system.sql("GRANT pg_signal_backend TO {admin}")
    before = target.fields()
    with closing(target.system.connect(before)) as session:
        target.rotate()
        assert target.journal.step is Step.RETAINING
        assert not target.system.accepts(before)
        assert is_alive(session)
        with closing(target.system.connect(target.fields())) as newer:
            target.expire_delete_delay()
            eventually(lambda: target.rotate(finish_only=True) is Outcome.NOTHING, "the end of the delay")
            assert is_alive(newer)
        assert not is_alive(session)


# Secrecy


def test_the_new_password_is_only_in_vault(new, postgres, caplog, capfd):
    for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_connections = on"):
        postgres.sql(f"ALTER SYSTEM SET {setting}")
    postgres.sql("SELECT pg_reload_conf()")
    eventually(lambda: postgres.sql("SHOW log_statement") == [("all",)], "the setting")
    try:
        target = new()
        passwords = []
        with caplog.at_level(logging.DEBUG):
            for _ in range(4):
                target.rotate()
                passwords.append(target.fields()["password"])
            postgres.sql("SELECT 'end of log'")
    finally:
        postgres.sql("ALTER SYSTEM RESET ALL")
        postgres.sql("SELECT pg_reload_conf()")
    eventually(lambda: "end of log" in postgres._log.read_text(), "the log")
    log = postgres._log.read_text()
    assert "SCRAM-SHA-256$" in log  # It has the statements.
    records = [str(vars(record)) for record in caplog.records]
    output = capfd.readouterr()
    process = [Path(f"/proc/self/{name}").read_text() for name in ("cmdline", "environ")]
    texts = (log, *records, *output, *process, *os.environ.values())
    assert [password for password in passwords[1:] if any(password in text for text in texts)] == []


# Obstacles


def test_a_wrong_password_of_the_admin_is_reported(new):
    target = new()
    admin = target.fields("database/admin")
    target.put("database/admin", **{**admin, "password": "wrong-canary"})
    with pytest.raises(SystemRefusedError, match="database/admin: PostgreSQL rejects the admin's login") as caught:
        target.rotate()
    assert "canary" not in str(caught.value)
    assert target.system.accepts(target.fields())
    recorded = target.journal.pending
    target.put("database/admin", **admin)
    target.recover()
    assert {key: target.fields()[key] for key in recorded} == recorded


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("breakage", "settings", "text", "repair"),
    [
        (
            "ALTER ROLE {admin} NOCREATEROLE",
            {},
            "the admin lacks the privilege for: CREATE ROLE .*CREATEROLE",
            "ALTER ROLE {admin} CREATEROLE",
        ),
        ("SELECT 1", {"terminate": True}, "GRANT pg_signal_backend TO", "GRANT pg_signal_backend TO {admin}"),
        ("ALTER ROLE {owner} RENAME TO {aside}", {}, "CREATE ROLE .* NOLOGIN", "ALTER ROLE {aside} RENAME TO {owner}"),
        (
            "CREATE ROLE {role1} VALID UNTIL '2001-01-01'; GRANT {role1} TO {admin} WITH ADMIN OPTION",
            {},
            "VALID UNTIL 'infinity'",
            "ALTER ROLE {role1} VALID UNTIL 'infinity'",
        ),
    ],
    ids=["CREATEROLE", "pg_signal_backend", "owner", "VALID UNTIL"],
)
def test_a_missing_privilege_is_reported_and_once_granted_the_same_rotation_continues(
    new, breakage, settings, text, repair
):
    target = new(**settings)
    aside = f"aside-{target.system.schema}"
    target.system.sql(breakage, aside=aside)
    with pytest.raises(SystemRefusedError, match=text):
        target.rotate()
    assert target.fields()["password"] == PASSWORD
    assert target.system.accepts(target.fields())
    recorded = target.journal.pending
    target.system.sql(repair, aside=aside)
    target.recover()
    assert target.fields()["password"] == recorded["password"]


def test_a_role_without_the_admin_option_is_reported_by_postgresql_16(new, postgres):
    target = new()
    target.system.sql("CREATE ROLE {role1} LOGIN IN ROLE {owner}")
    if int(postgres.sql("SHOW server_version_num")[0][0]) >= 160000:  # Before, CREATEROLE covers all roles.
        with pytest.raises(SystemRefusedError, match=r"GRANT .* TO .* WITH ADMIN OPTION"):
            target.rotate()
        assert target.fields()["password"] == PASSWORD
        target.system.sql("GRANT {role1} TO {admin} WITH ADMIN OPTION")
        target.recover()
    else:
        target.rotate()
    assert target.fields()["username"] == target.system.roles[1]
    assert target.system.accepts(target.fields())


def test_a_missing_role_is_not_created_without_an_owner(new):
    target = new(owner=None)
    with pytest.raises(SystemRefusedError, match=r"the role .* does not exist; .*`owner`"):
        target.rotate()
    assert target.system.accepts(target.fields())


def test_two_roles_without_an_owner_alternate(new):
    target = new(owner=None)
    target.system.sql("CREATE ROLE {role1}; GRANT {role1} TO {admin} WITH ADMIN OPTION")
    target.rotate()
    assert target.fields()["username"] == target.system.roles[1]
    assert target.system.accepts(target.fields())


def test_a_secret_without_a_database_host_stops_the_rotation_before_it_starts(new):
    target = new()
    before = {key: value for key, value in target.fields().items() if key not in {"host", "port"}}
    target.put(target.secret_path, **before)
    with pytest.raises(LesseeError, match="database/postgres: the secret lacks host, port"):
        target.rotate()
    assert not target.journal.is_open


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"roles": ["a", "b", "c"]}, "expected one or two roles, found 3"),
        ({"roles": ["a", "a"]}, "duplicate role `a`"),
        ({"owner": "a", "roles": ["a", "b"]}, "is also one of `roles`"),
        ({"terminate_delay": "1s"}, "`terminate_delay` needs `terminate`"),
    ],
)
def test_a_contradictory_configuration_is_rejected(new, settings, text):
    with pytest.raises(ConfigError, match=text):
        new(**settings).rotate()


def test_an_admin_that_would_revoke_itself_is_rejected(new):
    target = new()
    target.config["rotation"]["target"]["roles"] = [target.system.admin, "b"]
    target.write_config()
    with pytest.raises(ConfigError, match="would revoke its own login"):
        target.rotate()


# Failures


class Relay:
    """Forwards connections to a server, except those with these numbers, which it closes; the first is number 1.

    It is a process of its own, because libpq asks whether a server answers without leaving Python to other threads.
    """

    def __init__(self, port, *closed):
        self._target, self._closed = port, closed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._process = get_context("fork").Process(target=self._serve, daemon=True)
        self._process.start()
        self._listener.close()

    def close(self):
        self._process.kill()
        self._process.join()

    def _serve(self):
        for number in count(1):
            client, _ = self._listener.accept()
            if number in self._closed:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def behind(new):
    """A target whose server is behind a relay that closes connections."""
    with ExitStack() as ends:

        def make(*closed):
            target = new()
            relay = Relay(target.system.postgres.port, *closed)
            ends.callback(relay.close)
            for path in ("database/postgres", "database/admin"):
                target.put(path, **{**target.fields(path), "port": relay.port, "sslmode": "disable"})
            return target

        yield make


def test_a_connection_that_ends_before_the_login_is_tried_once_more(behind):
    target = behind(1)
    before = target.fields()
    target.rotate()
    assert target.fields()["password"] != before["password"]
    assert target.system.accepts(target.fields())


def test_a_server_that_answers_but_accepts_no_login_is_named(behind):
    target = behind(1, 3)  # Between them is the question whether it answers.
    with pytest.raises(SystemUnavailableError, match="accepts no logins; see its own log"):
        target.rotate()
    target.recover()
    assert target.system.accepts(target.fields())
