"""The agents that the monitor knows, from their status and from the audit log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy import fleet
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.fleet import AgentSummary, Reporters, parse_agent, polled_row, without_duplicates
from lessee.ops.monitor.policy.service_status import PollResult, ServiceStatus, parse_service_status, polled_agents

AT, TIMESTAMP = 1_790_000_000.0, "2026-09-21T14:13:20.000+00:00"
STATUS = {
    "version": "1.2", "environment": "production", "ready": True, "fresh": True, "problems": ["one"],
    "apps": {
        "web": {"consumer": "web/host-ab12cd", "notify": {"pending": True}},
        "worker": {"consumer": None, "notify": {"pending": False}},
        "odd": 7,
    },
}  # fmt: skip
SUMMARY = AgentSummary(
    "1.2",
    "production",
    ("web", "worker"),
    ("web/host-ab12cd",),
    ready=True,
    fresh=True,
    pending=1,
    problems=1,
    problem="one",
)


def access(path="production/lessee/consumers/web/host-1", operation="update", *, at=AT, **fields):
    settings = {"role": "web", "address": "10.0.0.1", "error": None, "namespace": ""} | fields
    return Access(
        at, "id", operation, f"secret/metadata/{path}", "secret", "kv", settings["namespace"], settings["address"], "",
        "", settings["role"], "", (), root=False, error=settings["error"], denied=False, version=None, server="vault",
    )  # fmt: skip


def taken(*accesses):
    reporters = Reporters()
    for one in accesses:
        reporters.take(one)
    return reporters


def test_an_agents_status_is_summed_up():
    assert parse_agent(STATUS) == SUMMARY
    assert parse_service_status(STATUS).agent == SUMMARY
    assert parse_agent({**STATUS, "environment": None, "problems": "text"}).problems == 0


@pytest.mark.parametrize("status", [None, [], {}, {"version": 7, "apps": {}}, {"version": "1", "targets": {}}])
def test_another_service_is_no_agent(status):
    assert parse_agent(status) is None


@pytest.mark.parametrize(
    ("fields", "error", "state"),
    [
        ({}, None, "fresh"),
        ({"fresh": False}, None, "not_fresh"),
        ({"ready": False}, None, "not_ready"),
        ({"ready": "yes"}, None, "not_ready"),
        ({}, "refused", "unreachable"),
    ],
)
def test_a_polled_agent_has_a_state(fields, error, state):
    row = polled_row(parse_agent({**STATUS, **fields}), "web:9105", AT, error)
    assert (row["state"], row["address"], row["last_seen_at"], row["error"]) == (state, "web:9105", TIMESTAMP, error)
    assert (row["version"], row["apps"], row["pending"], row["problems"]) == ("1.2", ["web", "worker"], 1, 1)
    assert row["state"] in fleet.STATES


def test_only_polled_services_that_are_agents_are_in_the_fleet():
    found = polled_agents(
        {
            "b": PollResult(AT, None, ServiceStatus(agent=SUMMARY), "b:1", AT),
            "a": PollResult(AT + 9, "refused", ServiceStatus(agent=SUMMARY), "a:1", AT),
            "rotator": PollResult(AT, None, ServiceStatus(), "r:1", AT),
            "never": PollResult(AT, "refused", None),
        }
    )
    assert list(found) == ["a", "b"]
    assert [one["last_seen_at"] for one in found.values()] == [TIMESTAMP] * 2


def test_an_agent_that_reports_is_known_with_who_and_where():
    [(name, row)] = taken(access()).rows()
    assert name == "production/web/host-1"
    assert (row["apps"], row["consumers"]) == (["web"], ["web/host-1"])
    assert (row["environment"], row["component"], row["address"]) == ("production", "web", "10.0.0.1")
    assert (row["reported_at"], row["state"], row["version"], row["fresh"]) == (TIMESTAMP, "not_watched", None, None)


def test_its_other_requests_show_when_it_was_seen_last():
    other = access("production/db", "read", at=AT + 60)
    [(_, row)] = taken(access(), other, access("production/db", "read", at=AT + 30)).rows()
    assert row["last_seen_at"] == "2026-09-21T14:14:20.000+00:00"
    [(_, row)] = taken(access(), access("production/db", "read", at=AT + 60, address="10.0.0.2")).rows()
    assert row["last_seen_at"] == TIMESTAMP


def test_an_agent_that_deregisters_is_forgotten():
    assert list(taken(access(), access(operation="delete")).rows()) == []
    assert list(taken(access(operation="delete")).rows()) == []
    second = access("production/lessee/consumers/web/host-2")
    [(name, _)] = taken(access(), second, access(operation="delete")).rows()
    assert name == "production/web/host-2"


@pytest.mark.parametrize(
    "one",
    [
        access(operation="read"),
        access(error="permission denied"),
        access("production/lessee/consumers/"),
        access("production/lessee/consumers/web/host/more"),
        access("production/db"),
    ],
)
def test_what_is_no_report_makes_no_agent(one):
    assert list(taken(one).rows()) == []


def test_an_agent_cannot_take_the_place_of_another_environments():
    own, other = access(), access("testing/lessee/consumers/web/host-1", role="intruder")
    names = [name for name, _ in taken(own, other, access(namespace="team")).rows()]
    assert names == ["production/web/host-1", "team/production/web/host-1", "testing/web/host-1"]
    [(name, row)] = taken(access("lessee/consumers/web/host-1")).rows()
    assert (name, row["environment"]) == ("web/host-1", None)


def test_of_too_many_agents_the_one_that_was_not_seen_for_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(fleet, "MAX_REPORTERS", 2)
    many = [
        access(f"production/lessee/consumers/web/{number}", at=AT + number, address=str(number)) for number in range(3)
    ]
    assert [name[-1] for name, _ in taken(*many).rows()] == ["1", "2"]


def test_a_restart_forgets_no_agent():
    before = taken(access(), access("testing/lessee/consumers/b/host-2", at=AT + 5), access("x", "read", at=AT + 9))
    after = Reporters()
    after.restore(before.state())
    assert list(after.rows()) == list(before.rows())


def test_an_agent_whose_status_is_polled_is_listed_once():
    polled = polled_agents({"web": PollResult(AT, None, ServiceStatus(agent=SUMMARY), "web:9105", AT)})
    reported = dict(taken(access("production/lessee/consumers/web/host-ab12cd"), access()).rows())
    assert list(without_duplicates({**reported, **polled})) == ["production/web/host-1", "web"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*STATUS, "notify", "pending", "consumer"]), inner)
        ),
        max_leaves=20,
    )
)
def test_no_status_breaks_it(value):
    parse_agent(value)
    parse_agent({"version": "1", "apps": {"a": value}, "problems": value, "environment": value})
