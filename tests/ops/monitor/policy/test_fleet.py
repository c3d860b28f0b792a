"""The agents that the monitor knows, from their status and from the audit log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy import fleet
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.clients import Clients
from lessee.ops.monitor.policy.fleet import (
    AgentSummary,
    Reporters,
    from_log,
    parse_agent,
    polled_row,
    without_duplicates,
)
from lessee.ops.monitor.policy.service_status import PollResult, ServiceStatus, parse_service_status, polled_agents

AT, TIMESTAMP = 1_790_000_000.0, "2026-09-21T14:13:20.000+00:00"
STATUS = {
    "version": "1.2", "environment": "production", "ready": True, "fresh": True, "problems": ["one"],
    "identities": [{"token": {"request_id": "r1"}}, {"token": None}, {"token": {"request_id": ""}}, 7],
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
    token_requests=("r1",),
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


def rows(reporters):
    return [(name, row) for _, name, row in reporters.rows()]


def seen(*accesses):
    clients = Clients(["production"])
    for one in accesses:
        clients.take(one)
    return from_log(taken(*accesses), clients, AT)


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
    [(name, row)] = rows(taken(access()))
    assert name == "production/web/host-1"
    assert (row["apps"], row["consumers"]) == (["web"], ["web/host-1"])
    assert (row["environment"], row["component"], row["address"]) == ("production", "web", "10.0.0.1")
    assert (row["reported_at"], row["state"], row["version"], row["fresh"]) == (TIMESTAMP, "not_watched", None, None)


def test_its_other_requests_show_when_it_was_seen_last():
    other = access("production/db", "read", at=AT + 60)
    [(_, row)] = rows(taken(access(), other, access("production/db", "read", at=AT + 30)))
    assert row["last_seen_at"] == "2026-09-21T14:14:20.000+00:00"
    [(_, row)] = rows(taken(access(), access("production/db", "read", at=AT + 60, address="10.0.0.2")))
    assert row["last_seen_at"] == TIMESTAMP


def test_an_agent_that_deregisters_is_forgotten():
    assert list(rows(taken(access(), access(operation="delete")))) == []
    assert list(rows(taken(access(operation="delete")))) == []
    second = access("production/lessee/consumers/web/host-2")
    [(name, _)] = rows(taken(access(), second, access(operation="delete")))
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
    assert list(rows(taken(one))) == []


def test_an_agent_cannot_take_the_place_of_another_environments():
    own, other = access(), access("testing/lessee/consumers/web/host-1", role="intruder")
    names = [name for name, _ in rows(taken(own, other, access(namespace="team")))]
    assert names == ["production/web/host-1", "team/production/web/host-1", "testing/web/host-1"]
    [(name, row)] = rows(taken(access("lessee/consumers/web/host-1")))
    assert (name, row["environment"]) == ("web/host-1", None)


def test_of_too_many_agents_the_one_that_was_not_seen_for_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(fleet, "MAX_REPORTERS", 2)
    many = [
        access(f"production/lessee/consumers/web/{number}", at=AT + number, address=str(number)) for number in range(3)
    ]
    assert [name[-1] for name, _ in rows(taken(*many))] == ["1", "2"]


def test_a_restart_forgets_no_agent():
    before = taken(access(), access("testing/lessee/consumers/b/host-2", at=AT + 5), access("x", "read", at=AT + 9))
    after = Reporters()
    after.restore(before.state())
    assert rows(after) == rows(before)


def test_an_agent_whose_status_is_polled_is_listed_once():
    polled = polled_agents({"web": PollResult(AT, None, ServiceStatus(agent=SUMMARY), "web:9105", AT)})
    reported = seen(access("production/lessee/consumers/web/host-ab12cd"), access())
    assert list(without_duplicates({**reported, **polled})) == ["production/web/host-1", "web"]


def kv_read(**fields):
    """With the role that `access` has."""
    settings = {"id": "id", "at": AT, "address": "10.0.0.1", "role": "web"} | fields
    return Access(
        settings["at"], settings["id"], "read", "secret/data/production/db", "secret", "kv", "", settings["address"],
        "", "", settings["role"], "", (), root=False, error=None, denied=False, version=3, server="vault",
    )  # fmt: skip


def login(request, **fields):
    settings = {"address": "10.0.0.1", "role": "web"} | fields
    return Access(
        AT, request, "update", "auth/approle/login", "auth/approle", "approle", "", settings["address"], "", "",
        settings["role"], "", (), root=False, error=None, denied=False, version=None, server="vault",
    )  # fmt: skip


def test_an_agent_that_reports_and_reads_is_one_agent():
    second = access("production/lessee/consumers/worker/host-1")
    found = seen(login("r9"), access(), second, kv_read(at=AT + 60), kv_read(address="10.0.0.2"))
    assert list(found) == ["production/web/host-1", "production/worker/host-1", "web at 10.0.0.2"]
    one, other, third = found.values()
    assert one["state"] == other["state"] == third["state"] == "fresh"
    assert (one["apps"], one["environment"], one["logged_in_at"]) == (["web"], "production", TIMESTAMP)
    assert one["last_read"] == {"path": "secret/production/db", "version": 3}
    assert one.keys() == third.keys()


def test_a_polled_agent_that_reports_nothing_is_known_by_its_logins():
    polled = polled_agents({"web": PollResult(AT, None, ServiceStatus(agent=SUMMARY), "web:9105", AT)})
    logs = seen(login("r1"), kv_read(), login("r2", address="10.0.0.2"), kv_read(address="10.0.0.2"))
    found = without_duplicates({**logs, **polled})
    assert list(found) == ["web", "web at 10.0.0.2"]
    assert (found["web"]["version"], found["web"]["logged_in_at"]) == ("1.2", TIMESTAMP)
    assert found["web"]["last_read"] == {"path": "secret/production/db", "version": 3}
    assert not any("token_requests" in row for row in found.values())


def test_the_last_read_of_an_agent_with_several_roles_counts():
    polled = polled_agents({"web": PollResult(AT, None, ServiceStatus(agent=SUMMARY), "web:9105", AT)})
    first, second = login("r1"), login("r1", role="worker")
    logs = seen(first, kv_read(at=AT + 60), second, kv_read(role="worker"))
    [row] = without_duplicates({**logs, **polled}).values()
    assert row["last_read_at"] == "2026-09-21T14:14:20.000+00:00"


@pytest.mark.no_cover
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
    parse_agent({"version": "1", "apps": {"a": value}, "problems": value, "environment": value, "identities": value})
    parse_agent({"version": "1", "apps": {}, "identities": [value, {"token": value}]})
