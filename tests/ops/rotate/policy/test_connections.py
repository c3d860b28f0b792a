"""The user and the address of a connection, as the database secrets engine describes it."""

import pytest

from lessee.ops.rotate.policy.connections import user_and_address


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (
            {"username": "root", "connection_url": "postgresql://{{username}}:{{password}}@db:5432/a"},
            ("root", "db:5432"),
        ),
        ({"connection_url": "postgresql://root:known@db:5432/b?sslmode=require"}, ("root", "db:5432")),
        ({"username": "root", "connection_url": "{{username}}:{{password}}@tcp(db:3306)/"}, ("root", "tcp(db:3306)")),
        ({"username": "root", "hosts": "db"}, ("root", "")),
        ({}, ("", "")),
    ],
)
def test_connections_of_one_user_at_one_address_are_recognized(details, expected):
    assert user_and_address(details) == expected
