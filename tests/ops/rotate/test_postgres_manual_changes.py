"""Rotations of PostgreSQL's roles while users change roles and secrets."""

from contextlib import closing

import pytest

from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.rotation import TargetRotation
from support.environments.rotation_targets import RotationTarget
from support.systems.postgres import LoginRoles, OneRole, after_first_call


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: RotationTarget(bao, tmp_path, kind(postgres, **settings))


def test_a_manually_dropped_role_is_created_again(new):
    target = new()
    target.rotate()
    target.system.sql("DROP ROLE {role0}")
    target.rotate()
    assert target.fields()["username"] == target.system.roles[0]
    with closing(target.system.connect(target.fields())) as session:
        assert session.execute("SELECT current_user").fetchone() == (target.system.owner,)


@pytest.mark.parametrize("role", ["{role0}", "{role1}"])
def test_a_role_dropped_during_the_rotation_does_not_stop_it(new, monkeypatch, role):
    target = new()
    after_first_call(monkeypatch, "apply", lambda: target.system.sql(f"DROP ROLE IF EXISTS {role}"))
    if role == "{role1}":  # The new role: the new credential cannot work any more.
        with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
            target.rotate()
        target.recover()
    else:
        target.rotate()
    assert target.system.accepts(target.fields())
    assert target.fields()["username"] == target.system.roles[1]


@pytest.mark.parametrize("kind", [LoginRoles, OneRole])
def test_a_manually_changed_password_is_replaced(new, kind):
    target = new(kind)
    target.system.sql("ALTER ROLE {role0} PASSWORD 'manual'")
    assert not target.system.accepts(target.fields())
    target.rotate()
    assert target.system.accepts(target.fields())


def test_a_revoked_membership_is_granted_again(new):
    target = new()
    for _ in range(2):
        target.rotate()
    target.system.sql("REVOKE {owner} FROM {role1}")
    target.system.sql("ALTER ROLE {role1} RESET ALL")
    target.rotate()
    with closing(target.system.connect(target.fields())) as session:
        assert session.execute("SELECT current_user").fetchone() == (target.system.owner,)


def test_a_working_credential_that_a_user_writes_during_the_rotation_stays(new, monkeypatch):
    target = new()
    target.rotate()
    edited = {**target.fields(), "password": "manual"}

    def edit():
        target.system.sql("ALTER ROLE {role1} PASSWORD 'manual'")
        target.put(target.secret_path, **edited)

    after_first_call(monkeypatch, "apply", edit)
    # The abandoned rotation does not delay the next one, which is requested immediately.
    target.rotate()
    assert target.fields(version=target.metadata()["current_version"] - 1) == edited
    assert target.fields()["username"] == target.system.roles[0]
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


def test_an_invalid_credential_that_a_user_writes_during_the_rotation_is_replaced(new, monkeypatch):
    target = new()
    edited = {**target.fields(), "password": "mistyped", "note": "by a user"}
    after_first_call(monkeypatch, "apply", lambda: target.put(target.secret_path, **edited))
    target.rotate()
    fields = target.fields()
    assert fields["note"] == "by a user"
    assert fields["username"] == target.system.roles[1]
    assert target.system.accepts(fields)


def test_the_old_role_stays_after_a_manual_rollback(new, monkeypatch):
    target = new(confirmation_timeout="1s")
    before = target.fields()
    inner = TargetRotation._check_confirmations

    def check(self):
        if target.fields()["username"] != before["username"]:
            target.put(target.secret_path, **before)
        inner(self)

    monkeypatch.setattr(TargetRotation, "_check_confirmations", check)
    target.rotate()
    assert target.fields() == before
    assert target.system.accepts(before)
