"""What becomes of a rotation whose PostgreSQL is away, stands still, or is held by another."""

import os
import signal
from contextlib import closing
from itertools import count
from types import SimpleNamespace

import psycopg
import pytest

from lessee.ops.rotate.kinds import postgres_session
from lessee.ops.rotate.kinds.kind import SystemUnavailableError
from lessee.ops.rotate.kinds.postgres import LoginRoles as Kind
from lessee.ops.rotate.policy import decision
from lessee.ops.rotate.policy.decision import Outcome
from support.environments.rotation_targets import Rotated
from support.environments.sound_environment import postgres_with_tls
from support.servers.certificate_authority import Authority
from support.systems.postgres import LoginRoles, after_the_first


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: Rotated(bao, tmp_path, kind(postgres, **settings))


def test_a_server_that_has_no_connection_left_has_refused_nobody(new):
    rotated = new()
    rotated.system.sql("CREATE ROLE {role1} CONNECTION LIMIT 0")
    rotated.system.sql("GRANT {role1} TO {admin} WITH ADMIN OPTION")
    with pytest.raises(SystemUnavailableError, match="no connection left"):
        rotated.rotate()
    rotated.system.sql("ALTER ROLE {role1} CONNECTION LIMIT -1")
    rotated.recover()
    assert rotated.fields()["username"] == rotated.system.roles[1]


def test_who_holds_the_lock_is_not_disturbed(new, monkeypatch):
    monkeypatch.setitem(postgres_session._TIMEOUTS, "lock_timeout", "200ms")
    rotated = new()
    admin = rotated.fields("database/admin")
    monkeypatch.setattr(Kind, "_key", lambda _: 4711)
    with closing(rotated.system.connect(admin)) as other:
        other.execute("SELECT pg_advisory_lock(4711)")
        with pytest.raises(SystemUnavailableError, match="another rotator holds it"):
            rotated.rotate()
    rotated.recover()
    assert rotated.system.orphans(rotated.fields()) == set()


def test_who_stands_still_with_the_lock_loses_it_and_does_no_harm(new, monkeypatch):
    monkeypatch.setattr(decision, "LOCK_TTL", 0.1)
    monkeypatch.setattr(postgres_session, "PATIENCE", 0.0)
    rotated = new()
    inner, still = Kind._make_member, []

    def stand_still(self, admin, role):
        if not still:
            still.append(True)
            # As the product has it, but sooner; and for this one alone, for the other may be slow.
            for name in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
                assert admin.execute(f"SHOW {name}").fetchone() == (postgres_session._TIMEOUTS[name],)
                admin.execute(f"SET {name} TO '200ms'")
            assert rotated.rotate() is Outcome.ROTATED  # Another one, whose time has come.
        inner(self, admin, role)

    monkeypatch.setattr(Kind, "_make_member", stand_still)
    assert rotated.rotate() is Outcome.ALREADY_ROTATED
    assert still
    assert rotated.fields()["rotation_count"] == 1
    assert rotated.system.lets_in(rotated.fields())
    assert rotated.system.orphans(rotated.fields()) == set()


def test_a_server_that_stands_still_is_not_waited_for(new, postgres, monkeypatch):
    monkeypatch.setattr(postgres_session, "_CONNECT", 2)
    monkeypatch.setattr(postgres_session, "_PING", 1)
    rotated = new()
    after_the_first(monkeypatch, "create", lambda: postgres.process.send_signal(signal.SIGSTOP))
    try:
        with pytest.raises(SystemUnavailableError, match=r"does not answer at 127\.0\.0\.1"):
            rotated.rotate()
    finally:
        postgres.process.send_signal(signal.SIGCONT)
    rotated.recover()


def test_nor_is_a_session_that_does(new, monkeypatch):
    monkeypatch.setattr(postgres_session, "_SESSION", 3.0)
    rotated = new()
    stopped = []

    def stop(self, admin, role):  # noqa: ARG001
        stopped.append(admin.info.backend_pid)
        os.kill(stopped[0], signal.SIGSTOP)
        admin.execute("SELECT 1")

    with monkeypatch.context() as patch:
        patch.setattr(Kind, "_make_member", stop)
        try:
            with pytest.raises(SystemUnavailableError, match="did not finish"):
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
        with pytest.raises(SystemUnavailableError, match="sslmode and ca_file"):
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
            except SystemUnavailableError:
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
    with pytest.raises(SystemUnavailableError, match="did not finish"):
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
