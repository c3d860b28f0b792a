"""Two admins of PostgreSQL: each can do what the other can, and a refusal leaves one that works."""

import os
import threading

import pytest

from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget, rotate
from support.servers.postgres import DATABASE
from support.systems.postgres_admins import AdminPair

ROTATIONS = 4


@pytest.fixture
def target(bao, tmp_path, postgres):
    new = RotationTarget(bao, tmp_path, AdminPair(postgres))
    new.confirm(version=FUTURE_VERSION)
    return new


@pytest.fixture
def system(target):
    return target.system


def login(target, version):
    return target.fields(version=version)


def can_log_in(system, fields):
    return system.postgres.can_log_in(fields["username"], fields["password"])


def test_the_other_admin_gets_the_attributes_and_memberships_of_the_first(target, system):
    target.rotate()
    assert target.fields()["username"] == system.roles[1]
    attributes = "SELECT rolcreaterole, rolcreatedb, rolsuper FROM pg_roles WHERE rolname = %s"
    first, second = (system.postgres.sql(attributes, role) for role in system.roles)
    assert first == second
    memberships = (
        "SELECT r.rolname, m.admin_option FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid "
        "WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = %s) ORDER BY 1"
    )
    first, second = (system.postgres.sql(memberships, role) for role in system.roles)
    assert first == second
    assert len(second) == 2


def test_a_target_is_rotated_by_whichever_admin_is_published(target, system):
    """Each target reads the admin's secret when it needs it."""
    roles = [f"{system.app}-a", f"{system.app}-b"]
    where = {"host": "127.0.0.1", "port": system.postgres.port, "database": DATABASE}
    target.put("database/app", **where, username=roles[0], password="none yet", rotation_count=0)
    target.config["rotation"]["app"] = {
        "kind": "postgres",
        "secret": "database/app",
        "admin_secret": "database/admin",
        "roles": roles,
        "owner": system.owner,
        "confirmation_timeout": "100ms",
        "revoke_delay": "0s",
    }
    target.write_config()
    for _ in range(ROTATIONS):
        assert rotate(target.folder, target.bao.address, "app", {}) is Outcome.ROTATED
        assert can_log_in(system, target.fields("database/app"))
        target.rotate()
        assert system.accepts(target.fields())
    assert target.fields("database/app")["rotation_count"] == ROTATIONS


@pytest.mark.thorough
def test_no_login_of_an_admin_fails_while_the_pair_is_rotated(bao, tmp_path, postgres):
    """A client that read the secret has the delay's time to log in."""
    target = RotationTarget(bao, tmp_path, AdminPair(postgres), revoke_delay="1s")
    target.confirm(version=FUTURE_VERSION)
    failed, logins, over = [], [], threading.Event()

    def log_in():
        while not over.is_set():
            fields = target.fields()
            (logins if target.system.accepts(fields) else failed).append(fields["username"])

    client = threading.Thread(target=log_in)
    client.start()
    for _ in range(ROTATIONS):
        target.rotate()
    over.set()
    client.join()
    assert set(logins) == set(target.system.roles)
    assert not failed


def test_a_refusal_before_the_publication_leaves_the_published_admin(target, system):
    before = target.fields()
    system.sql(f"ALTER ROLE {{role0}} NO{system.right}")
    texts = {
        "CREATEROLE": "the admin lacks the privilege for: ",
        "SUPERUSER": "two admins without SUPERUSER cannot have the ADMIN OPTION on each other from PostgreSQL 16 on",
    }
    with pytest.raises(SystemRefusedError, match=f"{texts[system.right]}.* run as a superuser: .* {system.right}"):
        target.rotate()
    assert target.fields() == before
    assert can_log_in(system, before)
    system.sql(f"ALTER ROLE {{role0}} {system.right}")
    target.recover()
    assert system.accepts(target.fields())


def test_a_refusal_after_the_publication_leaves_both(bao, tmp_path, postgres):
    """The new admin may not disable the old one."""
    target = RotationTarget(bao, tmp_path, AdminPair(postgres), confirmation_timeout="1h")
    old = target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    assert target.journal.step is Step.PUBLISHED
    target.system.sql(f"ALTER ROLE {{role1}} NO{target.system.right}")
    target.confirm()
    with pytest.raises(SystemRefusedError, match="the admin lacks the privilege for: ALTER ROLE"):
        target.rotate(finish_only=True)
    assert can_log_in(target.system, old)
    assert can_log_in(target.system, target.fields())
    target.system.sql(f"ALTER ROLE {{role1}} {target.system.right}")
    target.rotate(finish_only=True)
    assert not can_log_in(target.system, old)
    assert target.system.accepts(target.fields())


def test_an_admin_that_a_person_restores_is_the_one_that_stays(bao, tmp_path, postgres):
    target = RotationTarget(bao, tmp_path, AdminPair(postgres), confirmation_timeout="1h")
    old = target.fields()
    target.rotate(wait=False)
    new = target.fields()
    target.put(target.secret_path, **old | {"rotation_count": new["rotation_count"]})
    target.confirm()
    target.rotate(finish_only=True)
    assert can_log_in(target.system, old)
    assert not can_log_in(target.system, new)
    assert target.system.accepts(target.fields())


def test_a_bootstrap_admin_is_replaced_by_the_pair(target, system):
    """It is not one of the pair, so it is left, and a person revokes it."""
    name = f"bootstrap {os.urandom(4).hex()}"
    system.postgres.sql(f"CREATE ROLE \"{name}\" LOGIN SUPERUSER PASSWORD 'of a person'")
    target.put(target.secret_path, **target.fields() | {"username": name, "password": "of a person"})
    target.rotate()
    assert target.fields()["username"] == system.roles[0]
    assert system.accepts(target.fields())
    assert system.postgres.can_log_in(name, "of a person")
    target.rotate()
    assert target.fields()["username"] == system.roles[1]
    assert system.accepts(target.fields())
    system.postgres.sql(f'DROP ROLE "{name}"')


def test_without_any_admin_that_works_the_error_says_so(target, system):
    system.sql("ALTER ROLE {role0} PASSWORD 'changed manually'")
    with pytest.raises(SystemRefusedError, match=r"database/admin: PostgreSQL rejects the admin's login"):
        target.rotate()
