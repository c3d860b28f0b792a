"""A container has one secret_id at a time: while its holder runs, no other process of it gets one."""

import pytest

from lessee.ops.issue.policy import issued as book
from lessee.ops.issue.policy.issued import AGAIN, MOST, WINDOW, Holder, Taken, TooSoon, objection

ROLE, PLACE = "web", "container a"


def runs(_):
    return True


def has_ended(_):
    return False


def served(*holders):
    issued = {}
    for holder in holders:
        issued = book.add(issued, ROLE, PLACE, holder)
    return issued


def test_the_first_process_gets_one_and_another_place_is_another_matter():
    holder = Holder(7, 1.0, 10.0)
    assert objection({}, ROLE, PLACE, holder, runs) is None
    issued = served(Holder(5, 1.0, 9.0))
    assert objection(issued, ROLE, "container b", holder, runs) is None
    assert objection(issued, "other", PLACE, holder, runs) is None


def test_another_process_gets_none_while_the_first_one_runs():
    issued = served(Holder(5, 1.0, 9.0))
    found = objection(issued, ROLE, PLACE, Holder(7, 1.0, 1e6), runs)
    assert found == Taken("process 5 has got the secret_id of web, and still runs")
    assert objection(issued, ROLE, PLACE, Holder(7, 1.0, 10.0), has_ended) is None
    # The pid alone does not make it the same process.
    assert isinstance(objection(issued, ROLE, PLACE, Holder(5, 2.0, 1e6), runs), Taken)


def test_the_same_process_may_ask_again_after_a_minute():
    issued = served(Holder(5, 1.0, 10.0))
    assert isinstance(objection(issued, ROLE, PLACE, Holder(5, 1.0, 10.0 + AGAIN - 1), runs), TooSoon)
    assert objection(issued, ROLE, PLACE, Holder(5, 1.0, 10.0 + AGAIN), runs) is None


def test_processes_that_end_one_after_the_other_get_ten_in_ten_minutes():
    issued = served(*(Holder(pid, 1.0, float(pid)) for pid in range(MOST)))
    assert isinstance(objection(issued, ROLE, PLACE, Holder(99, 1.0, 20.0), has_ended), TooSoon)
    assert objection(issued, ROLE, PLACE, Holder(99, 1.0, WINDOW), has_ended) is None
    assert len(book.add(issued, ROLE, PLACE, Holder(99, 1.0, 20.0))[ROLE, PLACE]) == MOST


def test_what_was_not_delivered_does_not_count():
    holder = Holder(5, 1.0, 10.0)
    issued = book.remove(served(holder), ROLE, PLACE, holder)
    assert objection(issued, ROLE, PLACE, Holder(5, 1.0, 11.0), runs) is None
    assert book.remove({}, ROLE, PLACE, holder) == {(ROLE, PLACE): ()}


def test_the_record_stays_bounded(monkeypatch):
    monkeypatch.setattr(book, "_MAX_PLACES", 2)
    issued = {}
    for place in "abc":
        issued = book.add(issued, ROLE, place, Holder(1, 1.0, 1.0))
    assert list(issued) == [(ROLE, "b"), (ROLE, "c")]


def test_the_record_survives_a_restart_of_the_service_but_not_one_of_the_machine():
    issued = served(Holder(5, 1.5, 10.0), Holder(6, 1.5, 11.0))
    text = book.encode(issued, "boot 1")
    assert book.decode(text, "boot 1") == issued
    assert book.decode(text, "boot 2") == {}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"boot": "boot 1", "rows": [{"role": "web"}]}', b"\xff" * 9])
def test_a_damaged_record_is_an_empty_one(text):
    assert book.decode(text, "boot 1") == {}
