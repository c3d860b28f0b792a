"""What a server writes as a ttl: beyond all bounds it is clamped, and logged."""

import pytest

from lessee.core.ttl import MAX_TTL
from lessee.telemetry.logs import log_listener
from lessee.vault.ttl import lease_ttl, static_ttl, token_ttl


@pytest.fixture
def clamped():
    found = []
    with log_listener(lambda event, fields: found.append((event, fields["path"], fields["was"]))):
        yield found


def test_a_ttl_within_the_bounds_is_used_as_it_is(clamped):
    assert [token_ttl(value) for value in (None, 0, 1, 3600)] == [0, 0, 1, 3600]
    assert [lease_ttl(value, "database/creds/a") for value in (1, 3600)] == [1, 3600]
    assert [static_ttl(value, "database/static-creds/a") for value in (0, 3600)] == [0, 3600]
    assert clamped == []


@pytest.mark.parametrize(
    ("value", "was", "seconds"),
    [
        (-1, "-1", 1),
        (0.001, "0.001", 1),
        (10**12, "1000000000000", MAX_TTL),
        (1e300, "1e+300", MAX_TTL),
        (10**400, "1" + "0" * 19, MAX_TTL),
        ("canary", "no number", 1),
        ([1], "no number", 1),
        (True, "no number", 1),
    ],
)
def test_another_ttl_is_clamped_and_logged(clamped, value, was, seconds):
    assert lease_ttl(value, "database/creds/a") == seconds
    assert token_ttl(value) == seconds
    assert clamped == [("ttl clamped", "database/creds/a", was), ("ttl clamped", "auth/token", was)]


def test_a_lease_without_end_has_one_and_a_rotation_without_time_is_due(clamped):
    assert lease_ttl(0, "database/creds/a") == 1
    assert lease_ttl(None, "database/creds/a") == 1
    assert static_ttl("canary", "database/static-creds/a") == 0
    assert [was for _, _, was in clamped] == ["0", "no number", "no number"]
