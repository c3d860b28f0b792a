"""The rotation of users of MariaDB, in addition to the contract of all kinds."""

import sys
from contextlib import closing, suppress

import pymysql
import pytest

from lessee.core.errors import ConfigError, LesseeError
from lessee.host.mysql_client import account
from lessee.ops.rotate.kinds import mysql
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.kinds.mysql import Users as Kind
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget
from support.servers.certificate_authority import Authority
from support.servers.clear_password_mysql import ClearPasswordMysql
from support.servers.mariadb import DATABASE, Mariadb
from support.systems.mysql import OneUser, Users, hash_of


@pytest.fixture
def new(bao, mariadb, tmp_path):
    return lambda kind=Users, **settings: RotationTarget(bao, tmp_path, kind(mariadb, **settings))


def is_alive(session):
    try:
        session.ping(reconnect=False)
    except pymysql.err.Error:
        return False
    return True


def after_first_call(monkeypatch, name, act):
    """Let `act` run after the kind's first call of this method."""
    inner, done = getattr(Kind, name), []

    def call(self, *arguments):
        answer = inner(self, *arguments)
        if not done:
            done.append(True)
            act()
        return answer

    monkeypatch.setattr(Kind, name, call)


# Users and their privileges


@pytest.mark.parametrize("text", [" REQUIRE X" + "''" * 5000 + "'", " REQUIRE SUBJECT '" + "''" * 5000])
def test_quotes_of_a_hostile_server_are_read_in_no_more_than_one_way(text):
    assert mysql._options(text) == ("", "")


def test_a_requirement_with_a_quoted_quote_is_read_whole():
    tail = r" REQUIRE SUBJECT '/CN=a'' WITH b\' WITH c' ISSUER '/CN=d' WITH MAX_USER_CONNECTIONS 3"
    assert mysql._options(tail) == (tail.partition(" WITH MAX")[0], " WITH MAX_USER_CONNECTIONS 3")


def test_the_users_alternate_and_have_the_same_grants(new):
    target = new()
    system, names = target.system, []
    for _ in range(3):
        target.rotate()
        names.append(target.fields()["username"])
    first, second = system.users
    assert names == [second, first, second]
    assert len(target.fields()["password"]) >= 32
    assert system.grants(first) == system.grants(second)
    with closing(system.connect(target.fields())) as session, session.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (1)")


def test_a_privilege_that_was_granted_or_revoked_since_is_the_next_user_s_too(new, mariadb):
    target = new()
    system = target.system
    for _ in range(2):
        target.rotate()
    first, second = (account(user, "%") for user in system.users)
    mariadb.sql(f"REVOKE UPDATE ON {DATABASE}.* FROM {first}")
    mariadb.sql(f"GRANT SELECT (number) ON {DATABASE}.orders TO {first}")
    mariadb.sql(f"GRANT INSERT ON {DATABASE}.orders TO {second}")
    target.rotate()
    assert system.grants(system.users[1]) == system.grants(system.users[0])
    assert not any("UPDATE" in text for text in system.grants(system.users[1]))


def test_a_user_that_the_secret_names_gives_no_grants_without_its_password(new, mariadb):
    """Who may write the secret would get the grants of any user."""
    target = new()
    mariadb.sql("CREATE USER of_others@'%' IDENTIFIED BY 'of-others'")
    mariadb.sql(f"GRANT SELECT (number) ON {DATABASE}.orders TO of_others@'%'")
    old = target.fields()
    target.put(target.secret_path, **{**old, "username": "of_others"})
    with pytest.raises(SystemRefusedError, match="rejects the published login of of_others"):
        target.rotate()
    target.put(target.secret_path, **{**old, "username": "of_others", "password": "of-others"})
    with suppress(LesseeError):
        target.rotate()
    assert any("SELECT (`number`)" in text for text in target.system.grants(target.system.users[0]))


def test_limits_and_the_need_of_tls_are_copied(new, mariadb):
    target = new()
    first = account(target.system.users[0], "%")
    mariadb.sql(f"GRANT USAGE ON *.* TO {first} WITH MAX_USER_CONNECTIONS 7")
    target.rotate()
    shown = mariadb.sql(f"SHOW GRANTS FOR {account(target.system.users[1], '%')}")
    assert any("MAX_USER_CONNECTIONS 7" in text for (text,) in shown)


def test_a_role_is_each_session_s_first_without_a_right_to_change_the_server_s_own_tables(new, mariadb):
    role, target = "App `role`", new(role="App `role`")
    system = target.system
    quoted, admin = "`App ``role```", account(system.admin, "%")
    mariadb.sql(f"CREATE OR REPLACE ROLE {quoted}")
    mariadb.sql(f"GRANT SELECT, INSERT, DELETE ON {DATABASE}.* TO {quoted}")
    mariadb.sql(f"GRANT {quoted} TO {admin} WITH ADMIN OPTION")
    for _ in range(2):
        target.rotate()
        with closing(system.connect(target.fields())) as session, session.cursor() as cursor:
            cursor.execute("SELECT CURRENT_ROLE()")
            assert cursor.fetchall() == ((role,),)
            cursor.execute("DELETE FROM orders")
    assert system.orphans(target.fields()) == set()


def test_a_default_role_is_copied(new, mariadb):
    target = new()
    system = target.system
    first, admin = account(system.users[0], "%"), account(system.admin, "%")
    mariadb.sql("CREATE OR REPLACE ROLE writers")
    mariadb.sql(f"GRANT writers TO {first}, {admin} WITH ADMIN OPTION")
    mariadb.sql(f"SET DEFAULT ROLE writers FOR {first}")
    target.rotate()
    with closing(system.connect(target.fields())) as session, session.cursor() as cursor:
        cursor.execute("SELECT CURRENT_ROLE()")
        assert cursor.fetchall() == (("writers",),)


def test_a_manually_dropped_user_is_created_again(new, mariadb):
    target = new()
    target.rotate()
    grants = target.system.grants(target.system.users[1])
    mariadb.sql(f"DROP USER {account(target.system.users[0], '%')}")
    target.rotate()
    assert target.fields()["username"] == target.system.users[0]
    assert target.system.grants(target.system.users[0]) == grants


def test_the_first_rotation_does_not_revoke_a_user_outside_users(new, mariadb, caplog):
    target = new()
    before = {**target.fields(), "username": f"other {target.environment}"}
    other = account(before["username"], "%")
    mariadb.sql(f"CREATE USER {other} IDENTIFIED BY '{before['password']}'")
    mariadb.sql(f"GRANT SELECT ON {DATABASE}.* TO {other}")
    target.put(target.secret_path, **before)
    target.rotate()
    assert target.fields()["username"] == target.system.users[0]
    assert target.system.grants(target.system.users[0]) == target.system.grants(before["username"])
    assert target.system.accepts(before)
    assert "old user not revoked" in caplog.messages


# One user


def test_one_user_has_both_passwords_until_all_consumers_have_confirmed(new):
    target = new(OneUser, consumers=["simba"], confirmation_timeout="1h")
    before = target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    assert target.system.accepts(before)
    assert target.system.accepts(target.fields())
    target.confirm()
    target.rotate(finish_only=True)
    assert not target.system.accepts(before)
    assert target.system.accepts(target.fields())


def test_another_way_to_log_in_is_replaced_and_logged(new, mariadb, caplog):
    target = new(OneUser)
    user = account(target.system.users[0], "%")
    mariadb.sql(f"ALTER USER {user} IDENTIFIED VIA unix_socket OR mysql_native_password USING '{hash_of('manual')}'")
    target.rotate()
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()
    [fields] = [record.fields for record in caplog.records if record.getMessage() == "other way to log in removed"]
    assert fields["methods"] == ["unix_socket"]


# Edits by users


@pytest.mark.parametrize("kind", [Users, OneUser])
def test_a_manually_changed_password_is_replaced(new, mariadb, kind):
    target = new(kind)
    mariadb.sql(f"ALTER USER {account(target.system.users[0], '%')} IDENTIFIED BY 'manual'")
    assert not target.system.accepts(target.fields())
    target.rotate()
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


@pytest.mark.parametrize("kind", [Users, OneUser])
def test_a_working_credential_that_a_user_writes_during_the_rotation_stays(new, mariadb, monkeypatch, kind):
    target = new(kind)
    edited = {**target.fields(), "password": "manual"}

    def edit():
        mariadb.sql(f"ALTER USER {account(edited['username'], '%')} IDENTIFIED BY 'manual'")
        target.put(target.secret_path, **edited)

    after_first_call(monkeypatch, "apply", edit)
    if kind is OneUser:  # The user has removed the new password too.
        with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
            target.rotate()
        target.recover()
        assert target.fields() == edited
    else:
        # The abandoned rotation does not delay the next one, which is requested immediately.
        target.rotate()
        assert target.fields(version=target.metadata()["current_version"] - 1) == edited
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


def test_an_invalid_credential_that_a_user_writes_during_the_rotation_is_replaced(new, monkeypatch):
    target = new()
    edited = {**target.fields(), "password": "mistyped", "note": "by a user"}
    after_first_call(monkeypatch, "apply", lambda: target.put(target.secret_path, **edited))
    target.rotate()
    fields = target.fields()
    assert (fields["note"], fields["username"]) == ("by a user", target.system.users[1])
    assert target.system.accepts(fields)


# Sessions


@pytest.mark.parametrize("terminate", [False, True])
def test_sessions_of_the_old_user_end_if_they_shall(new, mariadb, terminate):
    target = new(terminate=terminate)
    mariadb.sql(f"GRANT PROCESS, CONNECTION ADMIN ON *.* TO {account(target.system.admin, '%')}")
    with closing(target.system.connect(target.fields())) as session:
        target.rotate()
        assert is_alive(session) is not terminate
        if terminate:
            session.close = lambda: None


# What leaves this process


def test_the_new_password_is_nowhere_in_plain_text(new, mariadb, caplog):
    caplog.set_level("DEBUG")
    target = new()
    mariadb.sql("SET GLOBAL general_log = 1")
    try:
        for _ in range(2):
            target.rotate()
    finally:
        mariadb.sql("SET GLOBAL general_log = 0")
    password, log = target.fields()["password"], mariadb.general_log.read_text(errors="replace")
    assert hash_of(password) in log
    assert password not in log
    assert password not in mariadb.log.read_text()
    assert password not in caplog.text


@pytest.mark.parametrize("method", ["", "mysql_clear_password", "dialog", "sha256_password", "mysql_old_password"])
def test_a_server_without_tls_gets_no_password_in_clear_text(new, method):
    target = new()
    with ClearPasswordMysql(method) as server:
        admin = target.fields("database/admin")
        target.put("database/admin", **{**admin, "port": server.port})
        with pytest.raises(SystemRefusedError, match="asks for the password in clear text; set `tls: true`"):
            target.rotate()
        assert server.sent == []


@pytest.mark.thorough
def test_tls_is_verified_by_the_ca_in_the_secret(bao, tmp_path, tmp_path_factory):
    authority, pair = Authority(tmp_path / "ca.pem"), tmp_path / "pair.pem"
    authority.issue(pair, 30)
    Authority(tmp_path / "other.pem")
    tls = (f"--ssl-cert={pair}", f"--ssl-key={pair}", "--require-secure-transport=on")
    with Mariadb(tmp_path_factory.mktemp("tls"), *tls) as server:
        target = RotationTarget(bao, tmp_path, Users(server))
        with pytest.raises(SystemRefusedError, match=r"rejects the request \(error 3159\)"):
            target.rotate()
        for path in ("database/admin", "database/mysql"):
            target.put(path, **{**target.fields(path), "tls": True, "ca_file": str(tmp_path / "other.pem")})
        with pytest.raises(SystemUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            target.rotate()
        for path in ("database/admin", "database/mysql"):
            target.put(path, **{**target.fields(path), "ca_file": str(tmp_path / "ca.pem")})
        target.rotate()
        assert target.fields()["username"] == target.system.users[1]


# Failures


def test_an_admin_without_privileges_is_reported_with_the_grants_that_it_needs(new, mariadb):
    target = new()
    admin, before = account(target.system.admin, "%"), target.fields()
    mariadb.sql(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {admin}")
    with pytest.raises(SystemRefusedError, match=r"the admin lacks the privilege for SELECT .*GRANT CREATE USER"):
        target.rotate()
    assert target.system.accepts(before)
    mariadb.sql(f"GRANT CREATE USER ON *.* TO {admin}")
    mariadb.sql(f"GRANT SELECT ON mysql.* TO {admin}")
    with pytest.raises(SystemRefusedError, match="the admin lacks the privilege for GRANT SELECT"):
        target.rotate()
    mariadb.sql(f"GRANT SELECT, INSERT, UPDATE ON {DATABASE}.* TO {admin} WITH GRANT OPTION")
    target.rotate()
    assert target.system.accepts(target.fields())


def test_a_rejected_admin_is_reported_before_anything_changes(new):
    target = new()
    target.put("database/admin", **{**target.fields("database/admin"), "password": "mistyped"})
    with pytest.raises(SystemRefusedError, match="MariaDB rejects the admin's login"):
        target.rotate()
    assert target.system.accepts(target.fields())


def test_an_admin_that_is_one_of_the_users_is_refused(new):
    target = new()
    target.put("database/admin", **{**target.fields("database/admin"), "username": target.system.users[1]})
    with pytest.raises(ConfigError, match="the admin is one of `users`"):
        target.rotate()


def test_a_user_without_grants_that_could_be_copied_is_reported(new, mariadb):
    target = new()
    mariadb.sql(f"DROP USER {account(target.system.users[0], '%')}")
    with pytest.raises(SystemRefusedError, match="does not exist, and no other has its privileges"):
        target.rotate()


def test_a_user_that_may_not_use_the_database_is_reported(new, mariadb):
    target = new()
    mariadb.sql(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account(target.system.users[0], '%')}")
    with pytest.raises(SystemRefusedError, match=f"can log in, but not use the database {DATABASE}"):
        target.rotate()


def test_a_missing_library_is_reported_with_its_install_command(new, monkeypatch):
    target = new()
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(LesseeError, match=r"the library pymysql is missing; pip install 'lessee\[rotate\]'"):
        target.rotate()


def test_another_rotator_s_lock_is_respected(new, mariadb):
    target = new()
    admin = target.fields("database/admin")
    kind = Kind.__new__(Kind)
    kind._config = type("Config", (), {"account_host": "%", "users": tuple(target.system.users)})
    with closing(mariadb.connect(admin["username"], admin["password"])) as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (kind._lock_name(),))
        with pytest.raises(SystemUnavailableError, match="another rotator has the lock"):
            target.rotate()
    target.recover()


@pytest.mark.thorough
def test_a_server_that_stops_during_a_rotation_loses_nothing(bao, tmp_path, tmp_path_factory, monkeypatch):
    with Mariadb(tmp_path_factory.mktemp("stopped")) as server:
        target = RotationTarget(bao, tmp_path, Users(server))
        target.rotate()
        for name in ("create", "apply"):
            with monkeypatch.context() as patched:
                after_first_call(patched, name, server.stop)
                with pytest.raises(SystemUnavailableError, match="MariaDB does not answer"):
                    target.rotate()
            assert target.journal.step is Step.CREATED
            server.start()
            with suppress(SystemUnavailableError):
                target.recover()
            assert target.system.orphans(target.fields()) == set()
