"""What becomes of a rotation of PostgreSQL's roles when people change roles and secrets meanwhile."""

from contextlib import closing

import pytest

from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.rotation import TargetRotation
from support.environments.rotation_targets import Rotated
from support.systems.postgres import LoginRoles, OneRole, after_the_first


@pytest.fixture
def new(bao, postgres, tmp_path):
    return lambda kind=LoginRoles, **settings: Rotated(bao, tmp_path, kind(postgres, **settings))


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
        with pytest.raises(SystemRefusedError, match="not let in"):
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
    rotated = new(confirmation_timeout="1s")
    before = rotated.fields()
    inner = TargetRotation._check_confirmations

    def ask(self):
        if rotated.fields()["username"] != before["username"]:
            rotated.put(rotated.secret_path, **before)
        inner(self)

    monkeypatch.setattr(TargetRotation, "_check_confirmations", ask)
    rotated.rotate()
    assert rotated.fields() == before
    assert rotated.system.lets_in(before)
