"""Rotations while PostgreSQL is unavailable or hangs, or another rotator has the lock."""

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
from support.environments.rotation_targets import RotationTarget, sampled_calls
from support.environments.server_environment import postgres_with_tls
from support.servers.certificate_authority import Authority
from support.systems.postgres import LoginRoles, after_first_call


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: RotationTarget(bao, tmp_path, kind(postgres, **settings))


def test_a_server_without_free_connections_counts_as_unavailable(new):
    target = new()
    target.system.sql("CREATE ROLE {role1} CONNECTION LIMIT 0")
    target.system.sql("GRANT {role1} TO {admin} WITH ADMIN OPTION")
    with pytest.raises(SystemUnavailableError, match="no free connection"):
        target.rotate()
    target.system.sql("ALTER ROLE {role1} CONNECTION LIMIT -1")
    target.recover()
    assert target.fields()["username"] == target.system.roles[1]


def test_the_advisory_lock_of_another_rotator_is_respected(new, monkeypatch):
    monkeypatch.setitem(postgres_session._TIMEOUTS, "lock_timeout", "200ms")
    target = new()
    admin = target.fields("database/admin")
    monkeypatch.setattr(Kind, "_lock_key", lambda _: 4711)
    with closing(target.system.connect(admin)) as other:
        other.execute("SELECT pg_advisory_lock(4711)")
        with pytest.raises(SystemUnavailableError, match="another rotator has the lock"):
            target.rotate()
    target.recover()
    assert target.system.orphans(target.fields()) == set()


def test_a_suspended_rotator_loses_the_advisory_lock_and_does_no_harm(new, monkeypatch):
    monkeypatch.setattr(decision, "LOCK_TTL", 0.1)
    monkeypatch.setattr(postgres_session, "TIMEOUT", 0.0)
    target = new()
    inner, suspended = Kind._make_member, []

    def suspend(self, admin, role):
        if not suspended:
            suspended.append(True)
            # Shorter than lessee's timeouts, and only for this session: the other may be slow.
            for name in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
                assert admin.execute(f"SHOW {name}").fetchone() == (postgres_session._TIMEOUTS[name],)
                admin.execute(f"SET {name} TO '200ms'")
            assert target.rotate() is Outcome.ROTATED  # By another rotator.
        inner(self, admin, role)

    monkeypatch.setattr(Kind, "_make_member", suspend)
    assert target.rotate() is Outcome.ALREADY_ROTATED
    assert suspended
    assert target.fields()["rotation_count"] == 1
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


def test_a_suspended_server_is_not_waited_for(new, postgres, monkeypatch):
    monkeypatch.setattr(postgres_session, "_CONNECT_TIMEOUT", 2)
    monkeypatch.setattr(postgres_session, "_PING_TIMEOUT", 1)
    target = new()
    after_first_call(monkeypatch, "create", lambda: postgres.process.send_signal(signal.SIGSTOP))
    try:
        with pytest.raises(SystemUnavailableError, match=r"does not answer at 127\.0\.0\.1"):
            target.rotate()
    finally:
        postgres.process.send_signal(signal.SIGCONT)
    target.recover()


def test_a_suspended_session_is_not_waited_for(new, monkeypatch):
    monkeypatch.setattr(postgres_session, "_SESSION_TIMEOUT", 3.0)
    target = new()
    stopped = []

    def stop(self, admin, role):  # noqa: ARG001
        stopped.append(admin.info.backend_pid)
        os.kill(stopped[0], signal.SIGSTOP)
        admin.execute("SELECT 1")

    with monkeypatch.context() as patch:
        patch.setattr(Kind, "_make_member", stop)
        try:
            with pytest.raises(SystemUnavailableError, match=r"PostgreSQL at .* failed"):
                target.rotate()
        finally:
            os.kill(stopped[0], signal.SIGCONT)
    monkeypatch.undo()
    target.recover()


def test_the_server_s_certificate_is_verified_as_the_secret_says(new, postgres, tmp_path):
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "stranger", "pair")}
    Authority(files["ca"]).issue(files["pair"], 30)
    Authority(files["stranger"])
    target = new()
    with postgres_with_tls(SimpleNamespace(postgres=postgres, pair=files["pair"])):
        for path in ("database/postgres", "database/admin"):
            secured = {"sslmode": "verify-full", "ca_file": str(files["ca"])}
            target.put(path, **{**target.fields(path), **secured})
        target.rotate()
        assert target.fields()["username"] == target.system.roles[1]
        stranger = {**target.fields("database/admin"), "ca_file": str(files["stranger"])}
        target.put("database/admin", **stranger)
        with pytest.raises(SystemUnavailableError, match="sslmode and ca_file"):
            target.rotate()


@pytest.mark.thorough
def test_an_outage_of_postgresql_at_any_step_delays_the_rotation(new, postgres, monkeypatch):
    target = new(terminate=True)
    target.system.sql("GRANT pg_signal_backend TO {admin}")
    # The test server need not survive a crash, but the admin's changes must.
    target.system.sql("ALTER ROLE {admin} SET synchronous_commit TO on")
    postgres.sql("CHECKPOINT")
    for call_index in sampled_calls("outage", of=4, least=15):
        with monkeypatch.context() as patch:
            reached = stop_before(patch, postgres, call_index)
            try:
                target.rotate()
            except SystemUnavailableError:
                assert reached
            else:
                assert not reached
        if not reached:
            break
        postgres.start()
        recorded = target.journal.pending
        target.recover()
        assert {key: target.fields()[key] for key in recorded} == recorded
        assert target.system.orphans(target.fields()) == set()
    assert call_index >= 15


def test_a_connection_lost_between_two_statements_leaves_no_partial_change(new, postgres, monkeypatch):
    target = new()
    inner, cut = Kind._do, []

    def do(self, admin, text, **parts):
        if "SET role" in text and not cut:
            cut.append(admin.info.backend_pid)
            postgres.sql("SELECT pg_terminate_backend(%s)", cut[0])
        inner(self, admin, text, **parts)

    monkeypatch.setattr(Kind, "_do", do)
    with pytest.raises(SystemUnavailableError, match=r"PostgreSQL at .* failed"):
        target.rotate()
    target.recover()
    # A login would also work without this setting.
    with closing(target.system.connect(target.fields())) as session:
        assert session.execute("SELECT current_user").fetchone() == (target.system.owner,)


def stop_before(patch, postgres, call_index):
    """Stop the server before the call of this index to psycopg. Returns a list that is not empty after that."""
    left, reached = count(call_index, -1), []

    def with_stop(inner):
        def call(*arguments, **settings):
            if next(left) == 0:
                reached.append(True)
                postgres.stop()
            return inner(*arguments, **settings)

        return call

    patch.setattr(psycopg, "connect", with_stop(psycopg.connect))
    patch.setattr(psycopg.Connection, "execute", with_stop(psycopg.Connection.execute))
    return reached
