"""What the rotation of PostgreSQL's login roles promises beside the contract of all kinds."""

import logging
import os
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import Rotated
from support.programs.sidecar import eventually
from support.systems.postgres import PASSWORD, LoginRoles, OneRole


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: Rotated(bao, tmp_path, kind(postgres, **settings))


def is_alive(session):
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


# Turns


def test_the_roles_take_turns(new):
    rotated = new()
    names = []
    for _ in range(3):
        rotated.rotate()
        names.append(rotated.fields()["username"])
    first, second = rotated.system.roles
    assert names == [second, first, second]
    assert len(rotated.fields()["password"]) >= 32


def test_what_either_role_creates_belongs_to_the_owner_and_the_other_can_use_it(new):
    rotated = new()
    system = rotated.system
    rotated.rotate()  # Only from its own rotation on does a role act as the owner.
    table = psycopg.sql.Identifier(system.schema, "things")
    with closing(system.connect(rotated.fields())) as session:
        session.execute(psycopg.sql.SQL("CREATE TABLE {} (name text)").format(table))
        session.execute(psycopg.sql.SQL("INSERT INTO {} VALUES ('one')").format(table))
    rotated.rotate()
    with closing(system.connect(rotated.fields())) as session:
        session.execute(psycopg.sql.SQL("ALTER TABLE {} ADD more int").format(table))
        assert session.execute(psycopg.sql.SQL("SELECT * FROM {}").format(table)).fetchall() == [("one", None)]
        owner = session.execute("SELECT tableowner FROM pg_tables WHERE schemaname = %s", (system.schema,)).fetchone()
    assert owner == (system.owner,)


def test_the_first_rotation_leaves_a_user_that_is_none_of_the_roles(new, caplog):
    rotated = new()
    system = rotated.system
    system.sql("CREATE ROLE {other} LOGIN PASSWORD {first}", other=f"other-{system.schema}")
    before = {**rotated.fields(), "username": f"other-{system.schema}"}
    rotated.put(rotated.secret_path, **before)
    with caplog.at_level(logging.WARNING, "lessee"):
        rotated.rotate()
    assert rotated.fields()["username"] == system.roles[0]
    assert system.lets_in(before)
    assert any("none of the roles" in record.getMessage() for record in caplog.records)


def test_a_single_role_gets_a_new_password_and_its_loss_is_told_once(new, caplog):
    rotated = new(OneRole)
    with caplog.at_level(logging.WARNING, "lessee"):
        rotated.rotate()
    assert rotated.fields()["username"] == rotated.system.roles[0]
    assert [record.getMessage().startswith("logins fail") for record in caplog.records] == [True]


# Sessions


def test_the_old_roles_sessions_go_on(new):
    rotated = new()
    with closing(rotated.system.connect(rotated.fields())) as session:
        rotated.rotate()
        rotated.rotate()
        assert is_alive(session)


@pytest.mark.parametrize("kind", [LoginRoles, OneRole])
def test_with_terminate_the_old_roles_sessions_end(new, kind):
    rotated = new(kind, terminate=True)
    rotated.system.sql("GRANT pg_signal_backend TO {admin}")
    with closing(rotated.system.connect(rotated.fields())) as session:
        rotated.rotate()
        assert not is_alive(session)
    assert rotated.system.lets_in(rotated.fields())


def test_with_a_grace_they_end_when_it_is_over(new):
    rotated = new(terminate=True, grace="1h")
    rotated.system.sql("GRANT pg_signal_backend TO {admin}")
    before = rotated.fields()
    with closing(rotated.system.connect(before)) as session:
        rotated.rotate()
        assert rotated.journal.step is Step.RETAINING
        assert not rotated.system.lets_in(before)
        assert is_alive(session)
        with closing(rotated.system.connect(rotated.fields())) as newer:
            rotated.let_it_be_kept_no_longer()
            eventually(lambda: rotated.rotate(finish_only=True) is Outcome.NOTHING, "the end of the grace")
            assert is_alive(newer)
        assert not is_alive(session)


# Secrecy


def test_the_new_password_is_nowhere_but_in_vault(new, postgres, caplog, capfd):
    for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_connections = on"):
        postgres.sql(f"ALTER SYSTEM SET {setting}")
    postgres.sql("SELECT pg_reload_conf()")
    eventually(lambda: postgres.sql("SHOW log_statement") == [("all",)], "the setting")
    try:
        rotated = new()
        passwords = []
        with caplog.at_level(logging.DEBUG):
            for _ in range(4):
                rotated.rotate()
                passwords.append(rotated.fields()["password"])
            postgres.sql("SELECT 'the last word'")
    finally:
        postgres.sql("ALTER SYSTEM RESET ALL")
        postgres.sql("SELECT pg_reload_conf()")
    eventually(lambda: "the last word" in postgres._log.read_text(), "the log")
    log = postgres._log.read_text()
    assert "SCRAM-SHA-256$" in log  # It is a log of the statements.
    said = [str(vars(record)) for record in caplog.records]
    out = capfd.readouterr()
    process = [Path(f"/proc/self/{name}").read_text() for name in ("cmdline", "environ")]
    made = passwords[1:]
    assert [
        one for one in made if any(one in text for text in (log, *said, *out, *process, *os.environ.values()))
    ] == []


# What stands in the way


def test_a_wrong_password_of_the_admin_is_told(new):
    rotated = new()
    admin = rotated.fields("database/admin")
    rotated.put("database/admin", **{**admin, "password": "wrong-canary"})
    with pytest.raises(SystemRefusedError, match="database/admin: PostgreSQL refuses the admin's login") as caught:
        rotated.rotate()
    assert "canary" not in str(caught.value)
    assert rotated.system.lets_in(rotated.fields())
    noted = rotated.journal.pending
    rotated.put("database/admin", **admin)
    rotated.recover()
    assert {key: rotated.fields()[key] for key in noted} == noted


@pytest.mark.parametrize(
    ("breakage", "settings", "told", "mending"),
    [
        (
            "ALTER ROLE {admin} NOCREATEROLE",
            {},
            "may not do this: CREATE ROLE .*CREATEROLE",
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
def test_what_the_admin_lacks_is_told_and_once_it_is_there_the_same_rotation_goes_on(
    new, breakage, settings, told, mending
):
    rotated = new(**settings)
    aside = f"aside-{rotated.system.schema}"
    rotated.system.sql(breakage, aside=aside)
    with pytest.raises(SystemRefusedError, match=told):
        rotated.rotate()
    assert rotated.fields()["password"] == PASSWORD
    assert rotated.system.lets_in(rotated.fields())
    noted = rotated.journal.pending
    rotated.system.sql(mending, aside=aside)
    rotated.recover()
    assert rotated.fields()["password"] == noted["password"]


def test_a_role_over_which_the_admin_has_no_right_is_told_where_the_server_looks_for_one(new, postgres):
    rotated = new()
    rotated.system.sql("CREATE ROLE {role1} LOGIN IN ROLE {owner}")
    if int(postgres.sql("SHOW server_version_num")[0][0]) >= 160000:  # Before, CREATEROLE is over all roles.
        with pytest.raises(SystemRefusedError, match=r"GRANT .* TO .* WITH ADMIN OPTION"):
            rotated.rotate()
        assert rotated.fields()["password"] == PASSWORD
        rotated.system.sql("GRANT {role1} TO {admin} WITH ADMIN OPTION")
        rotated.recover()
    else:
        rotated.rotate()
    assert rotated.fields()["username"] == rotated.system.roles[1]
    assert rotated.system.lets_in(rotated.fields())


def test_a_role_that_is_not_there_is_not_made_without_an_owner(new):
    rotated = new(owner=None)
    with pytest.raises(SystemRefusedError, match=r"there is no role .*`owner`"):
        rotated.rotate()
    assert rotated.system.lets_in(rotated.fields())


def test_two_roles_without_an_owner_take_turns(new):
    rotated = new(owner=None)
    rotated.system.sql("CREATE ROLE {role1}; GRANT {role1} TO {admin} WITH ADMIN OPTION")
    rotated.rotate()
    assert rotated.fields()["username"] == rotated.system.roles[1]
    assert rotated.system.lets_in(rotated.fields())


def test_a_secret_that_does_not_say_where_the_database_is_stops_it_before_it_begins(new):
    rotated = new()
    before = {key: value for key, value in rotated.fields().items() if key not in {"host", "port"}}
    rotated.put(rotated.secret_path, **before)
    with pytest.raises(LesseeError, match="database/postgres: the secret lacks host, port"):
        rotated.rotate()
    assert not rotated.journal.is_open


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"roles": ["a", "b", "c"]}, "there are 3, and two take turns"),
        ({"roles": ["a", "a"]}, "stands there twice"),
        ({"owner": "a", "roles": ["a", "b"]}, "is one of the roles that take turns"),
        ({"terminate_delay": "1s"}, "grace is of no use"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(new, settings, told):
    with pytest.raises(ConfigError, match=told):
        new(**settings).rotate()


def test_an_admin_that_would_lock_itself_out_is_refused(new):
    rotated = new()
    rotated.config["rotation"]["target"]["roles"] = [rotated.system.admin, "b"]
    rotated.write_config()
    with pytest.raises(ConfigError, match="lock itself out"):
        rotated.rotate()
