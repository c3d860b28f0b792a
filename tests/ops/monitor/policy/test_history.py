"""What happened before the monitor's first start is one alert, a summary."""

from itertools import count

from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.service_status import LogSource
from support.models.alert_rules import FIRING, NOON, RESOLVED, Rules, access, denied, root

YEAR = 365 * 86400.0
SUMMARY = (FIRING, "first start")
numbers = count(1)


def read_past(rules, *accesses):
    rules.engine.take([LogEntry("one", next(numbers), each, is_history=True) for each in accesses], rules.now)


def write(at, name):
    return access(at, operation="update", path=f"sys/policies/acl/{name}")


def test_a_year_is_one_alert_and_the_present_has_its_own():
    rules = Rules("{consecutive_denials: 2}")
    for month in range(12):
        at = NOON - YEAR + month * YEAR / 12
        rules.sources = (LogSource("one", None, at, idle=False),)
        read_past(rules, root(at), write(at, f"month-{month}"), denied(at, role=f"client-{month}"))
        read_past(rules, denied(at, role=f"client-{month}"))
        assert rules.tick(1) == []
    rules.sources = (LogSource("one", None, at),)
    assert rules.tick(1) == [SUMMARY]
    [alert] = [one.alert for one in rules.notifications]
    assert (alert.rule, alert.severity, alert.count, alert.started_at) == ("history", "info", 36, NOON - YEAR)
    assert alert.text == (
        "before the monitor's first start, in 48 requests from 2022-11-15T12:00:00.000+00:00 "
        "to 2023-10-16T02:00:00.000+00:00: consecutive-denials 12 (client-0, client-1, client-2 and 9 more); "
        "root-token 12 (10.0.0.5); "
        "policy-changed 12 (sys/policies/acl/month-0, sys/policies/acl/month-1, sys/policies/acl/month-2 and 9 more)"
    )
    assert rules.take(write(rules.now, "now")) == [(FIRING, "sys/policies/acl/now")]
    assert rules.tick(301) == [(RESOLVED, "first start"), (RESOLVED, "sys/policies/acl/now")]


def test_a_past_without_findings_tells_nothing():
    rules = Rules("{}")
    read_past(rules, access(NOON - YEAR))
    assert rules.tick(1) == []


def test_a_restart_while_the_past_is_read_forgets_nothing():
    rules = Rules("{}")
    rules.sources = (LogSource("one", None, NOON - YEAR, idle=False),)
    read_past(rules, root(NOON - YEAR))
    assert rules.tick(1) == []
    rules.restart()
    read_past(rules, root(NOON - YEAR / 2), root(NOON - YEAR / 2 - 1))
    rules.sources = (LogSource("one", None, NOON + 1, idle=False),)
    assert rules.tick(1) == [SUMMARY]
    assert rules.notifications[0].alert.count == 3
    assert rules.tick(1) == []


def test_a_state_of_before_has_no_past():
    rules = Rules("{}")
    state = rules.engine.state()
    del state["history"]
    rules.engine.restore(state)
    assert rules.take(root()) == [(FIRING, "10.0.0.5")]


def test_the_past_of_many_rules_and_subjects_is_bounded():
    text = ", ".join(f"{{rule: policy-changed, name: rule-{number}}}" for number in range(120))
    rules = Rules(f"{{default_rules: false, rules: [{text}]}}")
    read_past(rules, *[write(NOON - YEAR, f"policy-{number}") for number in range(1200)])
    assert rules.tick(1) == [SUMMARY]
    text = rules.notifications[0].alert.text
    assert text.count("and 997 more") == text.count("rule-") == 100
