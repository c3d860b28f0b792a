"""Each alert fires once, is told to be over, and neither is lost nor doubled by a kill."""

import json
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy import alerts as board
from lessee.ops.monitor.policy.alerts import KEPT, MOST, Manner, Sign, firing
from lessee.ops.monitor.policy.facts import Answer, Source
from lessee.ops.monitor.policy.rates import OTHER
from lessee.ops.monitor.policy.watch import GRACE
from support.models.alert_rules import AGAIN, FIRING, NOON, RESOLVED, Alarms, access, refused, root

MANNERS = {"one": Manner("warning", 600.0, 60.0), "two": Manner("critical", 600.0, 0.0)}


def sign(subject="a", at=NOON, rule="one", text="so it is", times=1):
    return Sign(rule, subject, text, at, at, times)


class Driven:
    """The step, without rules before it. `told`: all tellings, each with its moment."""

    def __init__(self):
        self.alerts, self.told = {}, []

    def step(self, *signs, now, manners=MANNERS, ends_from=0.0):
        self.alerts, tellings = board.step(self.alerts, signs, now, manners, ends_from=ends_from)
        self.told += [(now, one) for one in tellings]
        return [(one.what, one.alert.subject) for one in tellings]


def test_each_subject_is_an_alert_of_its_own():
    driven = Driven()
    assert driven.step(sign("a"), sign("b"), sign("a"), now=NOON) == [(FIRING, "a"), (FIRING, "b")]
    assert driven.alerts["one", "a"].times == 2
    assert [alert.subject for alert in firing(driven.alerts)] == ["a", "b"]


def test_what_happened_long_ago_is_told_and_stays_for_a_look():
    driven = Driven()
    assert driven.step(sign(at=NOON - 86400), now=NOON) == [(FIRING, "a")]
    assert driven.step(now=NOON + 59) == []
    assert driven.step(now=NOON + 60) == [(RESOLVED, "a")]


def test_one_that_is_over_is_shown_for_a_while():
    driven = Driven()
    driven.step(sign(), now=NOON)
    driven.step(now=NOON + 60)
    driven.step(now=NOON + 60 + KEPT - 1)
    assert list(driven.alerts) == [("one", "a")]
    driven.step(now=NOON + 60 + KEPT)
    assert driven.alerts == {}


def test_the_alerts_of_a_rule_that_was_taken_out_are_over():
    driven = Driven()
    driven.step(sign(), now=NOON)
    assert driven.step(now=NOON + 1, manners={}) == [(RESOLVED, "a")]


def test_none_is_over_before_it_could_be_seen_that_it_still_is_so():
    driven = Driven()
    driven.step(sign(), now=NOON)
    assert driven.step(now=NOON + 90, ends_from=NOON + 100) == []
    assert driven.step(now=NOON + 100, ends_from=NOON + 100) == [(RESOLVED, "a")]


def test_a_clock_that_is_set_back_neither_keeps_an_alert_for_ever_nor_tells_it_without_end():
    driven = Driven()
    driven.step(sign(), now=NOON)
    assert driven.step(sign(at=NOON - 7200), now=NOON - 7200) == [(AGAIN, "a")]
    assert driven.step(sign(at=NOON - 7190), now=NOON - 7190) == []
    assert driven.step(now=NOON - 7200 + 70) == [(RESOLVED, "a")]
    assert driven.alerts["one", "a"].over_at == NOON - 7130


def test_a_flood_of_subjects_is_told_once_for_those_beyond_a_hundred():
    driven = Driven()
    told = driven.step(*[sign(str(n)) for n in range(1000)], now=NOON)
    assert len(told) == MOST + 1
    assert told[-1] == (FIRING, OTHER)
    assert driven.alerts["one", OTHER].times == 900
    assert "and others, such as 999" in driven.alerts["one", OTHER].text
    assert driven.step(sign("x", rule="two"), now=NOON) == [(FIRING, "x")]


def test_what_is_over_does_not_pile_up():
    driven = Driven()
    for n in range(50):
        driven.step(*[sign(f"{n}-{m}", rule="two", at=NOON + n) for m in range(10)], now=NOON + n)
        driven.step(now=NOON + n + 0.5)
    assert len(driven.alerts) <= 210


def test_tellings_have_names_of_their_own_and_the_same_after_the_same():
    ids = []
    for _ in range(2):
        driven = Driven()
        for n in range(30):
            driven.step(*[sign(at=NOON + 60 * n)] * (n < 20), now=NOON + 60 * n)
        ids.append([one.id for _, one in driven.told])
    assert [one.what for _, one in driven.told] == [FIRING, AGAIN, RESOLVED]
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


@given(moves)
def test_of_any_history_an_alert_fires_once_and_ends_once_before_it_fires_again(history):
    driven, now = Driven(), NOON
    for after, subjects, rule, killed in history:
        now += after
        driven.step(*[sign(subject, now, rule) for subject in subjects], now=now)
        if killed:
            found = msgspec.convert(json.loads(msgspec.json.encode(list(driven.alerts.values()))), list[board.Alert])
            driven.alerts = {(alert.rule, alert.subject): alert for alert in found}
    assert not [alert for alert in driven.alerts.values() if alert.firing and now - alert.last >= 400.0]
    by_key = {}
    for at, one in driven.told:
        by_key.setdefault((one.alert.rule, one.alert.subject), []).append((at, one))
    for told in by_key.values():
        fires = False
        for at, one in told:
            match one.what:
                case board.What.FIRING:
                    assert not fires
                    fires, told_at = True, at
                case board.What.AGAIN:
                    assert fires
                    assert at - told_at >= 600.0
                    told_at = at
                case board.What.RESOLVED:
                    assert fires
                    fires = False
    assert max(Counter(one.id for _, one in driven.told).values(), default=1) == 1


requests = st.lists(
    st.tuples(st.floats(0.0, 700.0), st.sampled_from(["read", "refused", "root", "tick", "restart"])), max_size=60
)
RULES = "{reads_per_hour: 2, refusals_in_a_row: 2, rules: [{rule: first-read, learn: 10m}]}"


@given(requests)
def test_a_restart_at_any_moment_changes_nothing_that_is_told(history):
    one, other = Alarms(RULES), Alarms(RULES)
    for after, what in history:
        for alarms in (one, other):
            alarms.now += after
            match what:
                case "read":
                    alarms.read(access(alarms.now, path=f"secret/data/{int(alarms.now) % 3}"))
                case "refused":
                    alarms.read(refused(alarms.now))
                case "root":
                    alarms.read(root(alarms.now))
            # No alert is over before it could be seen; for the others there was time enough.
            if what == "restart":
                alarms.tick()
                alarms.now += GRACE
                if alarms is other:
                    alarms.restart().watch._began = NOON
        assert one.tick() == other.tick()
    assert one.watch.status(one.now) == other.watch.status(other.now)


def test_after_a_restart_an_alert_has_a_minute_to_be_seen_again():
    alarms = Alarms("{resolve_after: 1s}")
    alarms.hear(root())
    alarms.now += 3600
    assert alarms.restart().tick() == []
    assert alarms.tick(GRACE) == [(RESOLVED, "10.0.0.5")]


def test_a_rule_whose_figures_were_changed_begins_to_count_anew():
    alarms = Alarms("{usual: false, rules: [{rule: reads, limit: 3, name: x}, {rule: first-read, learn: 0s}]}")
    alarms.hear(access(), access(), access())
    kept = alarms.watch.kept()
    for rules in (
        "{rule: reads, limit: 3, within: 2h, name: x}, {rule: first-read, learn: 0s, by: address}",
        "{rule: refusals, limit: 3, name: x}",
    ):
        other = Alarms(f"{{usual: false, rules: [{rules}]}}")
        other.watch.restore(json.loads(json.dumps(kept)))
        assert (RESOLVED, "simba: secret/production/database/postgres") in other.tick(GRACE) + other.tick(600)
        assert (FIRING, "simba") not in other.hear(access(other.now))
    same = Alarms("{usual: false, rules: [{rule: reads, limit: 3, name: x}]}")
    same.watch.restore(json.loads(json.dumps(kept)))
    assert (FIRING, "simba") in same.hear(access())


@pytest.mark.parametrize("killed", [False, True])
def test_a_clock_that_was_a_year_ahead_makes_no_rule_deaf(killed):
    rules = "{reads_per_hour: 2, refusals_in_a_row: 5, rules: [{rule: first-read, learn: 10m}, %s]}"
    alarms = Alarms(rules % "{rule: agent-silent, after: 1m, components: [simba]}, {rule: audit-off, after: 1m}")
    alarms.sources = (Source("one", "gone", None), Source("two", None, None))
    alarms.answers = {"agent": Answer(NOON, "away", None)}
    alarms.now += 365 * 86400
    alarms.answers = {"agent": Answer(alarms.now, "away", None)}
    alarms.hear(access(alarms.now), refused(alarms.now, role="web"))
    alarms.now = NOON + 60
    if killed:
        alarms.restart()
    alarms.tick()
    told = alarms.hear(*[access(alarms.now)] * 3)
    assert (FIRING, "simba") in told
    assert [row["last_hour"] for row in alarms.watch.status(alarms.now)["accesses"]["by_path"]] == [3]
    told = alarms.tick(60)
    assert {(FIRING, "one"), (FIRING, "agent")} <= {*told}


def test_a_server_whose_clock_is_far_ahead_does_not_silence_the_rules():
    alarms = Alarms("{usual: false, reads_per_hour: 2}")
    assert alarms.hear(*[access(NOON + 10**8)] * 2) == []
    assert alarms.hear(access()) == [(FIRING, "simba")]
    assert alarms.told[0].alert.last == NOON


@pytest.mark.parametrize("text", ["\u202e\x1b[2J\n", "x" * 5000])
def test_what_a_client_writes_into_a_path_can_neither_break_a_line_nor_fill_the_page(text):
    alarms = Alarms("{usual: false, reads_per_hour: 1}")
    alarms.hear(*[access(path=f"secret/data/{text}", role=text, address=text)] * 2)
    status = json.dumps(alarms.watch.status(alarms.now), ensure_ascii=False)
    assert status.isprintable()
    assert len(status) < 3000
