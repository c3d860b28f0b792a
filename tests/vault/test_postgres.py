"""The behavior of the tests' PostgreSQL behind OpenBao that tests of leases rely on."""

import itertools

import pytest

_NUMBERS = itertools.count()


@pytest.fixture
def issued(bao, postgres):
    """Credentials, and the id of their lease, from a role of the test's own."""
    role = f"smoke{next(_NUMBERS)}"
    postgres.attach(bao, role=role)
    return bao.ask("GET", f"database/creds/{role}")


def test_an_issued_user_logs_in_until_its_lease_is_revoked(bao, postgres, issued):
    user, password = issued["data"]["username"], issued["data"]["password"]
    assert issued["lease_duration"] == 3600
    assert postgres.can_log_in(user, password)
    assert not postgres.can_log_in(user, "another")
    bao.ask("PUT", "sys/leases/revoke", {"lease_id": issued["lease_id"], "sync": True})
    assert not postgres.can_log_in(user, password)
    assert postgres.roles(user) == []


def test_a_connected_user_that_owns_a_table_can_be_revoked(bao, postgres, issued):
    user, password = issued["data"]["username"], issued["data"]["password"]
    with postgres.connect(user, password) as connection:
        connection.execute(f"CREATE TABLE of_{user.replace('-', '_')} ()")
        connection.commit()
        bao.ask("PUT", "sys/leases/revoke", {"lease_id": issued["lease_id"], "sync": True})
    assert postgres.roles(user) == []


def test_a_static_role_keeps_its_name_over_a_rotation(bao, postgres, issued):
    del issued  # The database is attached.
    postgres.static_role(bao, "static_smoke")
    before = bao.ask("GET", "database/static-creds/static_smoke")["data"]
    assert postgres.can_log_in("static_smoke", before["password"])
    bao.ask("POST", "database/rotate-role/static_smoke", {})
    after = bao.ask("GET", "database/static-creds/static_smoke")["data"]
    assert not postgres.can_log_in("static_smoke", before["password"])
    assert postgres.can_log_in(after["username"], after["password"])
    assert after["username"] == "static_smoke"
