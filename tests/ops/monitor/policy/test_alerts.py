"""Each alert fires once and resolves once, and a kill neither loses nor duplicates a notification."""

import json
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy import alerts as alerting
from lessee.ops.monitor.policy.alert_engine import RESTART_GRACE
from lessee.ops.monitor.policy.alerts import MAX_FIRING, RETENTION, AlertSettings, Detection, firing
from lessee.ops.monitor.policy.rates import OTHER
from lessee.ops.monitor.policy.service_status import LogSource, PollResult
from support.models.alert_rules import FIRING, NOON, REPEATED, RESOLVED, Rules, access, denied, root

SETTINGS = {"one": AlertSettings("warning", 600.0, 60.0), "two": AlertSettings("critical", 600.0, 0.0)}


def detection(subject="a", at=NOON, rule="one", text="a text", count=1):
    return Detection(rule, subject, text, at, at, count)


class Steps:
    """Calls `step` without rules. `notifications` holds each notification with its moment."""

    def __init__(self):
        self.alerts, self.notifications = {}, []

    def step(self, *detections, now, settings=SETTINGS, resolve_from=0.0):
        self.alerts, notifications = alerting.step(self.alerts, detections, now, settings, resolve_from=resolve_from)
        self.notifications += [(now, one) for one in notifications]
        return [(one.kind, one.alert.subject) for one in notifications]


def test_each_subject_has_its_own_alert():
    steps = Steps()
    assert steps.step(detection("a"), detection("b"), detection("a"), now=NOON) == [(FIRING, "a"), (FIRING, "b")]
    assert steps.alerts["one", "a"].count == 2
    assert [alert.subject for alert in firing(steps.alerts)] == ["a", "b"]


def test_a_detection_of_the_past_fires_and_stays_for_the_resolve_timeout():
    steps = Steps()
    assert steps.step(detection(at=NOON - 86400), now=NOON) == [(FIRING, "a")]
    assert steps.step(now=NOON + 59) == []
    assert steps.step(now=NOON + 60) == [(RESOLVED, "a")]


def test_a_resolved_alert_is_retained_for_a_while():
    steps = Steps()
    steps.step(detection(), now=NOON)
    steps.step(now=NOON + 60)
    steps.step(now=NOON + 60 + RETENTION - 1)
    assert list(steps.alerts) == [("one", "a")]
    steps.step(now=NOON + 60 + RETENTION)
    assert steps.alerts == {}


def test_the_alerts_of_a_removed_rule_resolve():
    steps = Steps()
    steps.step(detection(), now=NOON)
    assert steps.step(now=NOON + 1, settings={}) == [(RESOLVED, "a")]


def test_no_alert_resolves_before_rules_had_time_to_detect_it_again():
    steps = Steps()
    steps.step(detection(), now=NOON)
    assert steps.step(now=NOON + 90, resolve_from=NOON + 100) == []
    assert steps.step(now=NOON + 100, resolve_from=NOON + 100) == [(RESOLVED, "a")]


def test_a_clock_set_back_neither_retains_an_alert_forever_nor_repeats_it_without_end():
    steps = Steps()
    steps.step(detection(), now=NOON)
    assert steps.step(detection(at=NOON - 7200), now=NOON - 7200) == [(REPEATED, "a")]
    assert steps.step(detection(at=NOON - 7190), now=NOON - 7190) == []
    assert steps.step(now=NOON - 7200 + 70) == [(RESOLVED, "a")]
    assert steps.alerts["one", "a"].resolved_at == NOON - 7130


def test_subjects_beyond_a_hundred_share_one_alert():
    steps = Steps()
    kinds = steps.step(*[detection(str(n)) for n in range(1000)], now=NOON)
    assert len(kinds) == MAX_FIRING + 1
    assert kinds[-1] == (FIRING, OTHER)
    assert steps.alerts["one", OTHER].count == 900
    assert "and others, such as 999" in steps.alerts["one", OTHER].text
    assert steps.step(detection("x", rule="two"), now=NOON) == [(FIRING, "x")]


def test_resolved_alerts_do_not_accumulate():
    steps = Steps()
    for n in range(50):
        steps.step(*[detection(f"{n}-{m}", rule="two", at=NOON + n) for m in range(10)], now=NOON + n)
        steps.step(now=NOON + n + 0.5)
    assert len(steps.alerts) <= 210


def test_each_notification_has_its_own_id_and_the_same_history_gives_the_same_ids():
    ids = []
    for _ in range(2):
        steps = Steps()
        for n in range(30):
            steps.step(*[detection(at=NOON + 60 * n)] * (n < 20), now=NOON + 60 * n)
        ids.append([one.id for _, one in steps.notifications])
    assert [one.kind for _, one in steps.notifications] == [FIRING, REPEATED, RESOLVED]
    assert len(set(ids[0])) == 3
    assert ids[0] == ids[1]


moves = st.lists(
    st.tuples(
        st.floats(0.1, 400.0),
        st.lists(st.sampled_from("abc"), max_size=3),
        st.sampled_from(["one", "two"]),
        st.booleans(),
    ),
    max_size=40,
)


@pytest.mark.no_cover
@given(moves)
def test_in_any_history_an_alert_fires_once_and_resolves_once_before_it_fires_again(history):
    steps, now = Steps(), NOON
    for after, subjects, rule, killed in history:
        now += after
        steps.step(*[detection(subject, now, rule) for subject in subjects], now=now)
        if killed:
            alerts = msgspec.convert(json.loads(msgspec.json.encode(list(steps.alerts.values()))), list[alerting.Alert])
            steps.alerts = {(alert.rule, alert.subject): alert for alert in alerts}
    assert not [alert for alert in steps.alerts.values() if alert.firing and now - alert.last_seen_at >= 400.0]
    by_key = {}
    for at, one in steps.notifications:
        by_key.setdefault((one.alert.rule, one.alert.subject), []).append((at, one))
    for events in by_key.values():
        fires = False
        for at, one in events:
            match one.kind:
                case alerting.NotificationKind.FIRING:
                    assert not fires
                    fires, notified_at = True, at
                case alerting.NotificationKind.REPEATED:
                    assert fires
                    assert at - notified_at >= 600.0
                    notified_at = at
                case alerting.NotificationKind.RESOLVED:
                    assert fires
                    fires = False
    assert max(Counter(one.id for _, one in steps.notifications).values(), default=1) == 1


requests = st.lists(
    st.tuples(st.floats(0.0, 700.0), st.sampled_from(["read", "denied", "root", "tick", "restart"])), max_size=60
)
RULES = "{reads_per_hour: 2, consecutive_denials: 2, rules: [{rule: first-read, learning_period: 10m}]}"


@pytest.mark.no_cover
@given(requests)
def test_a_restart_at_any_moment_changes_no_notification(history):
    one, other = Rules(RULES), Rules(RULES)
    for after, what in history:
        for rules in (one, other):
            rules.now += after
            match what:
                case "read":
                    rules.read(access(rules.now, path=f"secret/data/{int(rules.now) % 3}"))
                case "denied":
                    rules.read(denied(rules.now))
                case "root":
                    rules.read(root(rules.now))
            # No alert resolves before rules could detect it again. The other alerts had enough time.
            if what == "restart":
                rules.tick()
                rules.now += RESTART_GRACE
                if rules is other:
                    rules.restart().engine._started_at = NOON
        assert one.tick() == other.tick()
    assert one.engine.status(one.now) == other.engine.status(other.now)


def test_after_a_restart_rules_have_a_minute_to_detect_an_alert_again():
    rules = Rules("{resolve_timeout: 1s}")
    rules.take(root())
    rules.now += 3600
    assert rules.restart().tick() == []
    assert rules.tick(RESTART_GRACE) == [(RESOLVED, "10.0.0.5")]


def test_a_rule_with_changed_limits_counts_from_zero():
    rules = Rules(
        "{default_rules: false, rules: [{rule: reads, limit: 3, name: x}, {rule: first-read, learning_period: 0s}]}"
    )
    rules.take(access(), access(), access())
    state = rules.engine.state()
    for text in (
        "{rule: reads, limit: 3, window: 2h, name: x}, {rule: first-read, learning_period: 0s, group_by: address}",
        "{rule: denials, limit: 3, name: x}",
    ):
        other = Rules(f"{{default_rules: false, rules: [{text}]}}")
        other.engine.restore(json.loads(json.dumps(state)))
        assert (RESOLVED, "simba: secret/production/database/postgres") in other.tick(RESTART_GRACE) + other.tick(600)
        assert (FIRING, "simba") not in other.take(access(other.now))
    same = Rules("{default_rules: false, rules: [{rule: reads, limit: 3, name: x}]}")
    same.engine.restore(json.loads(json.dumps(state)))
    assert (FIRING, "simba") in same.take(access())


@pytest.mark.parametrize("killed", [False, True])
def test_a_clock_that_was_a_year_ahead_disables_no_rule(killed):
    text = "{reads_per_hour: 2,  consecutive_denials: 5, rules: [{rule: first-read, learning_period: 10m}, %s]}"
    rules = Rules(text % "{rule: agent-silent, after: 1m, components: [simba]}, {rule: audit-off, after: 1m}")
    rules.sources = (LogSource("one", "gone", None), LogSource("two", None, None))
    rules.services = {"agent": PollResult(NOON, "away", None)}
    rules.now += 365 * 86400
    rules.services = {"agent": PollResult(rules.now, "away", None)}
    rules.take(access(rules.now), denied(rules.now, role="web"))
    rules.now = NOON + 60
    if killed:
        rules.restart()
    rules.tick()
    kinds = rules.take(*[access(rules.now)] * 3)
    assert (FIRING, "simba: secret/production/database/postgres") in kinds
    assert [row["last_hour"] for row in rules.engine.status(rules.now)["accesses"]["by_path"]] == [3]
    kinds = rules.tick(60)
    assert {(FIRING, "one"), (FIRING, "agent")} <= {*kinds}


def test_a_read_has_its_time_unless_it_is_more_than_five_minutes_ahead():
    rules = Rules("{default_rules: false}")
    rules.take(access(NOON + 300.0, role="web"), access(NOON + 300.1, role="api"))
    web, api = rules.engine.status(rules.now)["accesses"]["by_path"]
    assert (api["component"], api["last_at"]) == ("api", "2023-11-15T12:00:00.000+00:00")
    assert web == {
        "path": "secret/production/database/postgres", "component": "web", "address": "10.0.0.5",
        "last_hour": 1, "total": 1, "last_at": "2023-11-15T12:05:00.000+00:00",
    }  # fmt: skip


def test_a_server_with_a_clock_far_ahead_does_not_disable_the_rules():
    rules = Rules("{default_rules: false, reads_per_hour: 2}")
    assert rules.take(*[access(NOON + 10**8)] * 2) == []
    assert rules.take(access()) == [(FIRING, "simba: secret/production/database/postgres")]
    assert rules.notifications[0].alert.last_seen_at == NOON


@pytest.mark.parametrize("text", ["\u202e\x1b[2J\n", "x" * 5000])
def test_a_path_chosen_by_a_client_can_neither_break_a_line_nor_fill_the_status(text):
    rules = Rules("{default_rules: false, reads_per_hour: 1}")
    rules.take(*[access(path=f"secret/data/{text}", role=text, address=text)] * 2)
    status = json.dumps(rules.engine.status(rules.now), ensure_ascii=False)
    assert status.isprintable()
    assert len(status) < 3000
