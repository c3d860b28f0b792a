"""Parsing the status of services, and the part of the monitor's status about them."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.service_status import (
    AgentLease,
    LogSource,
    PollResult,
    RotationTarget,
    ServiceStatus,
    parse_service_status,
    parse_source,
    services_view,
)

KEYS = ["leases", "targets", "expires_at", "renew_at", "next_rotation_at", "consecutive_failures", "error", "path"]

MOMENT = "2026-11-28T16:25:03.488+00:00"
AT, TIMESTAMP = 1_790_000_000.0, "2026-09-21T14:13:20.000+00:00"


def test_an_agents_leases_and_a_rotators_targets_are_parsed():
    lease = {"path": "database/creds/simba", "expires_at": MOMENT, "renew_at": None, "state": "held", "more": 1}
    static = {"path": "database/static-creds/x", "expires_at": None}
    assert parse_service_status({"leases": [lease, static], "apps": {}}) == ServiceStatus(
        (AgentLease("database/creds/simba", 1795883103.488, None, "held"),)
    )
    target = {"next_rotation_at": MOMENT, "consecutive_failures": 3, "error": "away", "open_seconds": 1.5}
    idle = {"next_rotation_at": None, "consecutive_failures": 0, "error": None, "open_seconds": None}
    assert parse_service_status({"targets": {"a": target, "b": idle}}) == ServiceStatus(
        (), (RotationTarget("a", 1795883103.488, 3, "away", 1.5), RotationTarget("b", None, 0, "", 0.0))
    )


def test_a_source_of_the_log_is_parsed():
    assert parse_source({"name": "one", "error": None, "last_at": MOMENT}) == LogSource("one", None, 1795883103.488)
    assert parse_source({"name": "one", "error": "no file", "last_at": 0.0}) == LogSource("one", "no file", None)
    assert parse_source({"name": "one", "last_at": 5}) == LogSource("one", None, 5.0)


invalid = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=20,
)


def test_a_moment_outside_the_calendar_is_ignored():
    for moment in (-1, 2**52, "0001-01-01T00:00:00+00:00"):
        assert parse_service_status({"targets": {"a": {"next_rotation_at": moment}}}).targets[0].due_at is None


@given(invalid)
def test_invalid_fields_are_ignored(value):
    for status in (value, {"leases": value, "targets": value}, {"leases": [value], "targets": {"x": value}}):
        parsed = parse_service_status(status)
        assert all(isinstance(target.failures, int) for target in parsed.targets)
    parse_source(value)


def test_the_view_has_the_result_of_each_poll_and_each_target_of_rotators():
    agent = PollResult(AT, None, ServiceStatus((AgentLease("database/creds/simba", AT, None, "held"),)))
    targets = (RotationTarget("db", AT, 2, "away", 7.5), RotationTarget("s3", None, 0, "", 0.0))
    rotator = PollResult(AT, "refused", ServiceStatus((), targets))
    view = services_view({"rotator": rotator, "agent": agent, "never": PollResult(AT, "no such file", None)})
    assert view["services"] == [
        {"name": "agent", "checked_at": TIMESTAMP, "error": None, "leases": 1, "targets": 0},
        {"name": "never", "checked_at": TIMESTAMP, "error": "no such file", "leases": None, "targets": None},
        {"name": "rotator", "checked_at": TIMESTAMP, "error": "refused", "leases": 0, "targets": 2},
    ]
    assert view["rotation"] == [
        {
            "service": "rotator",
            "target": "db",
            "next_rotation_at": TIMESTAMP,
            "consecutive_failures": 2,
            "error": "away",
            "open_seconds": 7.5,
        },
        {
            "service": "rotator",
            "target": "s3",
            "next_rotation_at": None,
            "consecutive_failures": 0,
            "error": None,
            "open_seconds": None,
        },
    ]
    assert services_view({}) == {"services": [], "rotation": []}
