"""Only a token that did by itself what a rule is about is a suspect, whatever names its requests have."""

import json
from zoneinfo import ZoneInfo

import pytest

from lessee.ops.monitor.policy.evidence import MAX_AGE, MAX_TOKENS, Evidence
from lessee.ops.monitor.policy.rules import effective_rules
from support.models.alert_rules import NOON, access, denied, monitor, root

HOUR = 3600.0


def evidence(rule, **settings):
    config = monitor(
        f"{{audit: {{file: a}}, alerts: {{rules: [{json.dumps({'rule': rule, 'name': 'one', **settings})}]}}}}"
    )
    return Evidence({"one": effective_rules(config.alerts, polls_services=False)["one"]}, ZoneInfo)


def suspects(found, *subjects, now=NOON):
    return [one.accessor for one in found.suspects("one", subjects, now)]


def test_denials_count_for_each_token_and_not_for_a_name_that_tokens_share():
    found = evidence("denials", limit=3)
    found.take([denied(accessor=name) for name in ("a", "b", "a", "b", "c", "c", "a")], NOON)
    assert suspects(found) == ["a"]
    [suspect] = found.suspects("one", (), NOON)
    assert {"simba", "10.0.0.5", "secret/production/database/postgres"} <= set(suspect.labels)


def test_a_success_ends_a_row_of_denials_also_outside_the_rules_paths():
    found = evidence("denials", limit=2, paths=["secret/production/*"])
    elsewhere = {"path": "secret/data/testing/one"}
    found.take([denied(accessor="a"), access(accessor="a"), denied(accessor="a")], NOON)
    found.take([denied(accessor="b"), access(accessor="b", **elsewhere), denied(accessor="b")], NOON)
    found.take([denied(accessor="c"), denied(accessor="c", **elsewhere)], NOON)
    assert suspects(found) == []
    found.take([denied(accessor="c")], NOON)
    assert suspects(found) == ["c"]


def test_what_each_token_may_do_ends_no_row_of_denials():
    found = evidence("denials", limit=2, paths=["secret/*"])
    asks = [access(accessor="a", path=path) for path in ("sys/internal/ui/mounts/secret/a", "auth/token/lookup-self")]
    found.take([asks[0], denied(accessor="a"), *asks, denied(accessor="a")], NOON)
    assert suspects(found) == ["a"]


def test_requests_without_a_token_of_a_root_token_and_of_the_past_strike_nothing():
    found = evidence("denials", limit=1)
    found.take([denied(accessor=""), root(accessor="r", denied=True), denied(NOON - MAX_AGE, accessor="old")], NOON)
    assert suspects(found) == []
    found.take([denied(NOON + 9000, accessor="fast")], NOON)
    assert suspects(found) == ["fast"]
    assert suspects(found, now=NOON + MAX_AGE) == []


@pytest.mark.parametrize(("group_by", "expected"), [("component", ["a", "b"]), ("path", ["a"])])
def test_reads_count_for_each_token_and_path(group_by, expected):
    found = evidence("reads", limit=3, window="1h", group_by=group_by)
    found.take([access(accessor="a") for _ in range(4)], NOON)
    found.take([access(accessor="b", path=f"secret/data/production/{number}") for number in range(4)], NOON)
    found.take([access(accessor="c") for _ in range(3)], NOON)
    found.take([denied(accessor="c"), access(operation="update", accessor="c")], NOON)
    assert suspects(found) == expected


def test_reads_of_many_paths_take_bounded_memory():
    found = evidence("reads", limit=1, group_by="path")
    found.take([access(accessor="a", path=f"secret/data/production/{number}") for number in range(100)], NOON)
    assert suspects(found) == []
    assert len(found._tracks["one"]["a"].reads) == 20
    assert len(found._tracks["one"]["a"].labels) == 20


def test_the_token_that_was_quiet_for_the_longest_time_is_forgotten_first():
    found = evidence("denials", limit=1)
    found.take([denied(accessor=f"{number}") for number in range(MAX_TOKENS)], NOON)
    found.take([denied(accessor="0"), denied(accessor="new")], NOON)
    assert len(suspects(found)) == MAX_TOKENS
    assert suspects(found)[-2:] == ["0", "new"]
    assert "1" not in suspects(found)


@pytest.mark.parametrize(
    ("rule", "path", "other"),
    [
        ("policy-changed", "sys/policies/acl/a", "sys/audit/a"),
        ("auth-changed", "auth/approle/role/a", "sys/policies/acl/a"),
        ("audit-changed", "sys/audit/a", "auth/approle/role/a"),
    ],
)
def test_a_change_is_that_of_its_token(rule, path, other):
    found = evidence(rule)
    found.take([access(operation="update", path=path, accessor="a"), access(accessor="b")], NOON)
    found.take([access(operation="update", path=other, accessor="c")], NOON)
    assert suspects(found) == ["a"]


def test_a_read_outside_the_hours_is_one_of_its_own_moment():
    found = evidence("outside-hours", hours=["00:00-11:59"])
    found.take([access(NOON - 70, accessor="before"), access(NOON, accessor="after")], NOON)
    found.take([access(NOON, operation="update", accessor="writes")], NOON)
    assert suspects(found) == ["after"]


def test_what_is_new_only_the_alert_says():
    found = evidence("first-read", group_by="address")
    found.take([access(accessor="a"), access(accessor="b", address="10.0.0.6"), denied(accessor="c")], NOON)
    found.take([access(accessor="d", role="other", address="10.0.0.6")], NOON)
    assert suspects(found, "simba: 10.0.0.6") == ["b"]
    assert suspects(found, "3 components") == []


@pytest.mark.parametrize("rule", ["audit-off", "root-token"])
def test_other_rules_have_no_suspects(rule):
    found = evidence(rule)
    found.take([denied(accessor="a"), root(accessor="b")], NOON)
    assert suspects(found) == []
