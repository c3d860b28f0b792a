"""Reads are counted in a sliding hour, for a bounded number of keys."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.rates import HOUR, OTHER, Busiest, Rates, Window
from support.models.alert_rules import NOON


@given(st.lists(st.tuples(st.floats(0.0, 900.0), st.integers(0, 3)), max_size=80), st.booleans())
def test_a_window_counts_its_span_and_nothing_older(moves, restarts):
    window, now, counted = Window(600.0, 10), NOON, []
    for after, count in moves:
        now += after
        for _ in range(count):
            window.add(now)
            counted.append(now)
        if restarts:
            state, window = json.loads(json.dumps(window.state())), Window(600.0, 10)
            window.restore(state)
        # The window advances by one part of ten.
        assert sum(at > now - 540.0 for at in counted) <= window.at(now) <= sum(at > now - 600.0 for at in counted)


def test_an_event_older_than_the_window_is_ignored_and_a_late_one_is_counted():
    window = Window(600.0, 10)
    window.add(NOON)
    window.add(NOON - 120)
    window.add(NOON - 1200)
    assert window.at(NOON) == 2


def test_a_clock_set_back_drops_only_what_was_counted_in_the_future():
    window = Window(600.0, 10)
    window.add(NOON)
    window.on_clock_set_back(NOON + 1)
    assert window.at(NOON) == 1
    window.on_clock_set_back(NOON - 3600)
    window.add(NOON - 3600)
    assert window.at(NOON - 3600) == 1


def test_the_busiest_rows_of_the_hour_are_first():
    rates = Rates()
    for n in range(3):
        rates.add_read("secret/a", "simba", "10.0.0.5", NOON - 2 * HOUR + n)
    rates.add_read("secret/b", "web", "10.0.0.6", NOON)
    rates.add_denial(NOON)
    one = {"path": "secret/a", "component": "simba", "address": "10.0.0.5"}
    other = {"path": "secret/b", "component": "web", "address": "10.0.0.6"}
    assert rates.view(NOON) == {
        "by_path": [
            {**other, "last_hour": 1, "total": 1, "last_at": NOON},
            {**one, "last_hour": 0, "total": 3, "last_at": NOON - 2 * HOUR + 2},
        ],
        "omitted": 0,
        "denied_last_hour": 1,
    }


def test_rows_beyond_the_limit_share_one_row_and_pruning_makes_room():
    rates = Rates(max_rows=10)
    for n in range(30):
        rates.add_read(f"secret/{n}", "simba", "10.0.0.5", NOON)
    rates.prune(NOON)
    assert len(list(rates)) == 11
    assert sum(row["total"] for row in rates.view(NOON)["by_path"]) == 30
    rates.prune(NOON + 2 * HOUR)
    assert list(rates) == [(OTHER, OTHER, OTHER)]
    rates.add_read("secret/new", "simba", "10.0.0.5", NOON + 2 * HOUR)
    assert [row["total"] for row in rates.view(NOON + 2 * HOUR)["by_path"]] == [1, 30]


def test_the_status_has_a_bounded_number_of_rows():
    rates = Rates()
    for n in range(500):
        rates.add_read(f"secret/{n}", "simba", "10.0.0.5", NOON)
    view = rates.view(NOON)
    assert (len(view["by_path"]), view["omitted"]) == (200, 300)


def test_a_restart_preserves_the_counts():
    rates, again = Rates(), Rates()
    for n in range(100):
        rates.add_read(f"secret/{n % 7}", "simba", "10.0.0.5", NOON + 40 * n)
        rates.add_denial(NOON + 40 * n)
    again.restore(json.loads(json.dumps(rates.state())))
    assert again.view(NOON + 4000) == rates.view(NOON + 4000)


def test_the_busiest_names_are_found_among_many_and_old_events_do_not_count():
    busiest = Busiest(HOUR, limit=3)
    for n in range(300):
        busiest.add("busy", NOON + n)
        busiest.add("second" if n % 3 else f"rare-{n}", NOON + n)
    assert [name for name, _ in busiest.top(2)] == ["busy", "second"]
    assert dict(busiest.top(1)) == {"busy": 300}
    other = Busiest(HOUR, limit=3)
    other.restore(json.loads(json.dumps(busiest.state())))
    assert other.top(3) == busiest.top(3)
    other.add("new", NOON + HOUR / 2 + 1)
    assert other.top(1) == [("busy", 300)]
    other.add("new", NOON + 2 * HOUR)
    assert other.top(3) == [("new", 1)]
