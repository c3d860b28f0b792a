"""Who reads what: counted in a sliding hour, of so many things at most."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.rates import HOUR, OTHER, Rates, Window
from support.models.alert_rules import NOON


@given(st.lists(st.tuples(st.floats(0.0, 900.0), st.integers(0, 3)), max_size=80), st.booleans())
def test_a_window_counts_what_lies_in_it_and_nothing_that_is_older(moves, restarts):
    window, now, told = Window(600.0, 10), NOON, []
    for after, count in moves:
        now += after
        for _ in range(count):
            window.add(now)
            told.append(now)
        if restarts:
            kept, window = json.loads(json.dumps(window.kept())), Window(600.0, 10)
            window.restore(kept)
        # The part that goes on is one of ten.
        assert sum(at > now - 540.0 for at in told) <= window.at(now) <= sum(at > now - 600.0 for at in told)


def test_what_comes_too_late_is_left_out_and_what_comes_a_little_late_is_not():
    window = Window(600.0, 10)
    window.add(NOON)
    window.add(NOON - 120)
    window.add(NOON - 1200)
    assert window.at(NOON) == 2


def test_a_clock_that_is_set_back_takes_along_what_it_counted_and_nothing_else():
    window = Window(600.0, 10)
    window.add(NOON)
    window.set_back(NOON + 1)
    assert window.at(NOON) == 1
    window.set_back(NOON - 3600)
    window.add(NOON - 3600)
    assert window.at(NOON - 3600) == 1


def test_the_busiest_of_the_hour_come_first():
    rates = Rates()
    for n in range(3):
        rates.read("secret/a", "simba", "10.0.0.5", NOON - 2 * HOUR + n)
    rates.read("secret/b", "web", "10.0.0.6", NOON)
    rates.refused(NOON)
    one = {"path": "secret/a", "component": "simba", "address": "10.0.0.5"}
    other = {"path": "secret/b", "component": "web", "address": "10.0.0.6"}
    assert rates.view(NOON) == {
        "by_path": [
            {**other, "last_hour": 1, "total": 1, "last_at": NOON},
            {**one, "last_hour": 0, "total": 3, "last_at": NOON - 2 * HOUR + 2},
        ],
        "left_out": 0,
        "refused_last_hour": 1,
    }


def test_those_for_whom_there_is_no_room_are_counted_together_and_room_comes_of_those_who_went():
    rates = Rates(most=10)
    for n in range(30):
        rates.read(f"secret/{n}", "simba", "10.0.0.5", NOON)
    rates.forget(NOON)
    assert len(list(rates)) == 11
    assert sum(row["total"] for row in rates.view(NOON)["by_path"]) == 30
    rates.forget(NOON + 2 * HOUR)
    assert list(rates) == [(OTHER, OTHER, OTHER)]
    rates.read("secret/new", "simba", "10.0.0.5", NOON + 2 * HOUR)
    assert [row["total"] for row in rates.view(NOON + 2 * HOUR)["by_path"]] == [1, 30]


def test_a_page_is_not_longer_than_anybody_reads():
    rates = Rates()
    for n in range(500):
        rates.read(f"secret/{n}", "simba", "10.0.0.5", NOON)
    view = rates.view(NOON)
    assert (len(view["by_path"]), view["left_out"]) == (200, 300)


def test_a_restart_forgets_nothing():
    rates, again = Rates(), Rates()
    for n in range(100):
        rates.read(f"secret/{n % 7}", "simba", "10.0.0.5", NOON + 40 * n)
        rates.refused(NOON + 40 * n)
    again.restore(json.loads(json.dumps(rates.kept())))
    assert again.view(NOON + 4000) == rates.view(NOON + 4000)
