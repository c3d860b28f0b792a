"""What the rotation of PostgreSQL's login roles promises beside the contract of all kinds."""

import logging
import os
import signal
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from authorities import Authority
from environments import postgres_with_tls
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.rotation import deciding
from lessee.core.rotation.deciding import Outcome
from lessee.core.rotation.journal import Step
from lessee.rotation.kinds import postgres_server
from lessee.rotation.kinds.kind import SystemAway, SystemRefused
from lessee.rotation.kinds.postgres import LoginRoles as Kind
from lessee.rotation.rotating import Rotator
from rotated import Rotated
from sidecar import eventually
from systems.postgres import PASSWORD, LoginRoles, OneRole


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: Rotated(bao, tmp_path, kind(postgres, **settings))


def is_alive(session):
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def after_the_first(monkeypatch, name, act):
    """Once the kind has done this for the first time, something happens."""
    inner, done = getattr(Kind, name), []

    def call(self, *arguments):
        answer = inner(self, *arguments)
        if not done:
            done.append(True)
            act()
        return answer

    monkeypatch.setattr(Kind, name, call)


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
    rotated = new(terminate=True, grace="700ms")
    rotated.system.sql("GRANT pg_signal_backend TO {admin}")
    before = rotated.fields()
    with closing(rotated.system.connect(before)) as session:
        rotated.rotate()
        assert rotated.journal.step is Step.KEEPING
        assert not rotated.system.lets_in(before)
        assert is_alive(session)
        with closing(rotated.system.connect(rotated.fields())) as newer:
            eventually(lambda: rotated.rotate(open_only=True) is Outcome.NOTHING, "the end of the grace")
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
    with pytest.raises(SystemRefused, match="database/admin: PostgreSQL refuses the admin's login") as caught:
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
    with pytest.raises(SystemRefused, match=told):
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
        with pytest.raises(SystemRefused, match=r"GRANT .* TO .* WITH ADMIN OPTION"):
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
    with pytest.raises(SystemRefused, match=r"there is no role .*`owner`"):
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
        ({"roles": ["a", "b", "c"]}, "two that differ"),
        ({"roles": ["a", "a"]}, "two that differ"),
        ({"owner": "a", "roles": ["a", "b"]}, "the owner is one of the roles"),
        ({"grace": "1s"}, "grace is of no use"),
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


def test_a_server_that_has_no_connection_left_has_refused_nobody(new):
    rotated = new()
    rotated.system.sql("CREATE ROLE {role1} CONNECTION LIMIT 0")
    rotated.system.sql("GRANT {role1} TO {admin} WITH ADMIN OPTION")
    with pytest.raises(SystemAway, match="no connection left"):
        rotated.rotate()
    rotated.system.sql("ALTER ROLE {role1} CONNECTION LIMIT -1")
    rotated.recover()
    assert rotated.fields()["username"] == rotated.system.roles[1]


def test_who_holds_the_lock_is_not_disturbed(new, monkeypatch):
    monkeypatch.setitem(postgres_server._TIMEOUTS, "lock_timeout", "200ms")
    rotated = new()
    admin = rotated.fields("database/admin")
    monkeypatch.setattr(Kind, "_key", lambda _: 4711)
    with closing(rotated.system.connect(admin)) as other:
        other.execute("SELECT pg_advisory_lock(4711)")
        with pytest.raises(SystemAway, match="another rotator holds it"):
            rotated.rotate()
    rotated.recover()
    assert rotated.system.orphans(rotated.fields()) == set()


def test_who_stands_still_with_the_lock_loses_it_and_does_no_harm(new, monkeypatch):
    monkeypatch.setattr(deciding, "HOLD", 0.1)
    monkeypatch.setattr(postgres_server, "PATIENCE", 0.0)
    for name in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(postgres_server._TIMEOUTS, name, "200ms")
    rotated = new()
    inner, still = Kind._make_member, []

    def stand_still(self, admin, role):
        if not still:
            still.append(True)
            assert rotated.rotate() is Outcome.ROTATED  # Another one, whose time has come.
        inner(self, admin, role)

    monkeypatch.setattr(Kind, "_make_member", stand_still)
    with pytest.raises(SystemAway, match="did not finish"):
        rotated.rotate()
    assert rotated.fields()["rotation_count"] >= 1
    assert rotated.system.lets_in(rotated.fields())
    assert rotated.system.orphans(rotated.fields()) == set()


def test_a_server_that_stands_still_is_not_waited_for(new, postgres, monkeypatch):
    monkeypatch.setattr(postgres_server, "_CONNECT", 2)
    monkeypatch.setattr(postgres_server, "_PING", 1)
    rotated = new()
    after_the_first(monkeypatch, "create", lambda: postgres.process.send_signal(signal.SIGSTOP))
    try:
        with pytest.raises(SystemAway, match=r"does not answer at 127\.0\.0\.1"):
            rotated.rotate()
    finally:
        postgres.process.send_signal(signal.SIGCONT)
    rotated.recover()


def test_nor_is_a_session_that_does(new, monkeypatch):
    monkeypatch.setattr(postgres_server, "_SESSION", 0.5)
    rotated = new()
    stopped = []

    def stop(self, admin, role):  # noqa: ARG001
        stopped.append(admin.info.backend_pid)
        os.kill(stopped[0], signal.SIGSTOP)
        admin.execute("SELECT 1")

    with monkeypatch.context() as patch:
        patch.setattr(Kind, "_make_member", stop)
        try:
            with pytest.raises(SystemAway, match="did not finish"):
                rotated.rotate()
        finally:
            os.kill(stopped[0], signal.SIGCONT)
    monkeypatch.undo()
    rotated.recover()


def test_who_the_server_is_is_looked_at_where_the_secrets_say_so(new, postgres, tmp_path):
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "stranger", "pair")}
    Authority(files["ca"]).issue(files["pair"], 30)
    Authority(files["stranger"])
    rotated = new()
    with postgres_with_tls(SimpleNamespace(postgres=postgres, pair=files["pair"])):
        for path in ("database/postgres", "database/admin"):
            secured = {"sslmode": "verify-full", "ca_file": str(files["ca"])}
            rotated.put(path, **{**rotated.fields(path), **secured})
        rotated.rotate()
        assert rotated.fields()["username"] == rotated.system.roles[1]
        stranger = {**rotated.fields("database/admin"), "ca_file": str(files["stranger"])}
        rotated.put("database/admin", **stranger)
        with pytest.raises(SystemAway, match="sslmode and ca_file"):
            rotated.rotate()


def test_postgres_is_gone_at_any_step_and_the_rotation_ends_after_its_return(new, postgres, monkeypatch):
    rotated = new(terminate=True)
    rotated.system.sql("GRANT pg_signal_backend TO {admin}")
    # This server need not survive a crash; what its admin says must.
    rotated.system.sql("ALTER ROLE {admin} SET synchronous_commit TO on")
    postgres.sql("CHECKPOINT")
    for crossing in count():
        with monkeypatch.context() as patch:
            came = stop_before(patch, postgres, crossing)
            try:
                rotated.rotate()
            except SystemAway:
                assert came
            else:
                assert not came
        if not came:
            break
        postgres.start()
        noted = rotated.journal.pending
        rotated.recover()
        assert {key: rotated.fields()[key] for key in noted} == noted
        assert rotated.system.orphans(rotated.fields()) == set()
    assert crossing >= 15


def test_cut_off_between_two_statements_it_leaves_nothing_half_done(new, postgres, monkeypatch):
    rotated = new()
    inner, cut = Kind._do, []

    def do(self, admin, text, **parts):
        if "SET role" in text and not cut:
            cut.append(admin.info.backend_pid)
            postgres.sql("SELECT pg_terminate_backend(%s)", cut[0])
        inner(self, admin, text, **parts)

    monkeypatch.setattr(Kind, "_do", do)
    with pytest.raises(SystemAway, match="did not finish"):
        rotated.rotate()
    rotated.recover()
    # Its login alone would have worked without it.
    with closing(rotated.system.connect(rotated.fields())) as session:
        assert session.execute("SELECT current_user").fetchone() == (rotated.system.owner,)


def stop_before(patch, postgres, crossing):
    """The server is stopped before the so manyeth call of psycopg's. A list that is not empty once it came so far."""
    left, came = count(crossing, -1), []

    def mined(inner):
        def call(*arguments, **settings):
            if next(left) == 0:
                came.append(True)
                postgres.stop()
            return inner(*arguments, **settings)

        return call

    patch.setattr(psycopg, "connect", mined(psycopg.connect))
    patch.setattr(psycopg.Connection, "execute", mined(psycopg.Connection.execute))
    return came


# By hand


def test_a_role_that_was_dropped_by_hand_is_made_anew(new):
    rotated = new()
    rotated.rotate()
    rotated.system.sql("DROP ROLE {role0}")
    rotated.rotate()
    assert rotated.fields()["username"] == rotated.system.roles[0]
    with closing(rotated.system.connect(rotated.fields())) as session:
        assert session.execute("SELECT current_user").fetchone() == (rotated.system.owner,)


@pytest.mark.parametrize("which", ["{role0}", "{role1}"])
def test_a_published_role_that_was_dropped_meanwhile_does_not_stop_it(new, monkeypatch, which):
    rotated = new()
    after_the_first(monkeypatch, "apply", lambda: rotated.system.sql(f"DROP ROLE IF EXISTS {which}"))
    if which == "{role1}":  # The one that is new: there is nothing to prove any more.
        with pytest.raises(SystemRefused, match="not let in"):
            rotated.rotate()
        rotated.recover()
    else:
        rotated.rotate()
    assert rotated.system.lets_in(rotated.fields())
    assert rotated.fields()["username"] == rotated.system.roles[1]


@pytest.mark.parametrize("kind", [LoginRoles, OneRole])
def test_a_password_that_was_changed_by_hand_is_replaced(new, kind):
    rotated = new(kind)
    rotated.system.sql("ALTER ROLE {role0} PASSWORD 'of-a-person'")
    assert not rotated.system.lets_in(rotated.fields())
    rotated.rotate()
    assert rotated.system.lets_in(rotated.fields())


def test_membership_that_was_taken_away_is_given_again(new):
    rotated = new()
    for _ in range(2):
        rotated.rotate()
    rotated.system.sql("REVOKE {owner} FROM {role1}")
    rotated.system.sql("ALTER ROLE {role1} RESET ALL")
    rotated.rotate()
    with closing(rotated.system.connect(rotated.fields())) as session:
        assert session.execute("SELECT current_user").fetchone() == (rotated.system.owner,)


def test_what_a_person_writes_meanwhile_and_works_is_kept(new, monkeypatch):
    rotated = new()
    rotated.rotate()
    edited = {**rotated.fields(), "password": "of-a-person"}

    def edit():
        rotated.system.sql("ALTER ROLE {role1} PASSWORD 'of-a-person'")
        rotated.put(rotated.secret_path, **edited)

    after_the_first(monkeypatch, "apply", edit)
    # What was given up does not hinder the next, which is asked for at once.
    rotated.rotate()
    assert rotated.fields(version=rotated.metadata()["current_version"] - 1) == edited
    assert rotated.fields()["username"] == rotated.system.roles[0]
    assert rotated.system.lets_in(rotated.fields())
    assert rotated.system.orphans(rotated.fields()) == set()


def test_what_a_person_writes_meanwhile_and_does_not_work_is_replaced(new, monkeypatch):
    rotated = new()
    edited = {**rotated.fields(), "password": "mistyped", "note": "of a person"}
    after_the_first(monkeypatch, "apply", lambda: rotated.put(rotated.secret_path, **edited))
    rotated.rotate()
    fields = rotated.fields()
    assert fields["note"] == "of a person"
    assert fields["username"] == rotated.system.roles[1]
    assert rotated.system.lets_in(fields)


def test_the_old_role_stays_where_a_person_has_gone_back_to_it_meanwhile(new, monkeypatch):
    rotated = new(confirm_within="1s")
    before = rotated.fields()
    inner = Rotator._ask_consumers

    def ask(self):
        if rotated.fields()["username"] != before["username"]:
            rotated.put(rotated.secret_path, **before)
        inner(self)

    monkeypatch.setattr(Rotator, "_ask_consumers", ask)
    rotated.rotate()
    assert rotated.fields() == before
    assert rotated.system.lets_in(before)
