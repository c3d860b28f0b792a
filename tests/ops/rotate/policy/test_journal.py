"""What is kept of a rotation comes back as it was, and what is no journal is told."""

import pytest
from msgspec import json

from lessee.core.immutable import replace
from lessee.ops.rotate.policy.journal import Journal, Past, Step, closed, holds, read, written

OPEN = Journal(
    step=Step.PUBLISHED,
    id="cafe",
    fence=3,
    holder="somebody",
    held_until=12.5,
    current={"password": "canary-old"},
    pending={"password": "canary-new"},
    handle="key-1",
    pending_handle="key-2",
    before=("key-1",),
    count=4,
    failures=2,
    error="it was away",
    history=(Past("cafe", 3.0, 7),),
)


def test_it_comes_back_as_it_was_written():
    assert read(json.decode(json.encode(written(OPEN)))) == OPEN


def test_vault_may_give_whole_numbers_back_without_their_point():
    fields = written(OPEN) | {"held_until": 12, "started_at": 0}
    assert read(fields) == replace(OPEN, held_until=12.0)


def test_what_never_was_is_an_empty_journal():
    assert read({}) == Journal()
    assert not Journal().is_open


NOW = 1000.0


def test_moments_that_a_wrong_clock_noted_are_not_waited_for():
    far = NOW + 61.0
    journal = Journal(
        step=Step.KEEPING,
        started_at=far,
        published_at=far,
        confirmed_at=far,
        keep_until=far + 60.0,
        rotated_at=far,
        failed_at=far,
        count=3,
    )
    seen = journal.as_of(NOW)
    assert {seen.started_at, seen.published_at, seen.confirmed_at, seen.keep_until, seen.failed_at} == {NOW}
    assert (seen.rotated_at, seen.count, seen.step) == (0.0, 3, Step.KEEPING)  # Nobody knows when: it is due.


def test_moments_of_clocks_that_differ_by_a_little_are_as_they_were_noted():
    journal = Journal(started_at=NOW + 60.0, rotated_at=NOW + 60.0, keep_until=NOW * 9)
    assert journal.as_of(NOW) is journal
    assert replace(journal, failed_at=NOW + 61.0).as_of(NOW) == replace(journal, started_at=NOW, failed_at=NOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "canary-x"},
        written(OPEN) | {"step": "canary-x"},
        written(OPEN) | {"count": "canary-x"},
        written(OPEN) | {"current": ["canary-x"]},
        written(OPEN) | {"pending": {}},
        written(OPEN) | {"step": "created", "pending": {}},
        written(OPEN) | {"rotated_at": 1e300},
        written(OPEN) | {"history": [{"id": "canary-x", "at": -1.0, "version": 3}]},
        {key: value for key, value in written(OPEN).items() if key != "fence"},
    ],
)
def test_what_is_no_journal_is_told_without_what_stands_there(fields):
    with pytest.raises(ValueError, match="no journal") as caught:
        read(fields)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_closed_one_keeps_no_value_and_forgets_what_failed():
    done = closed(OPEN, handle="key-2")
    assert "canary" not in str(written(done))
    assert (done.step, done.holder, done.handle, done.failures, done.error) == (Step.IDLE, "", "key-2", 0, "")
    assert (done.count, done.history, done.fence) == (OPEN.count, OPEN.history, OPEN.fence)


def test_no_value_is_in_its_repr():
    assert "canary" not in repr(OPEN)


@pytest.mark.parametrize("step", Step)
def test_it_is_open_while_something_has_to_be_brought_to_its_end(step):
    assert replace(OPEN, step=step).is_open is (step not in {Step.IDLE, Step.KEEPING})


def test_a_secret_holds_what_is_wanted_whatever_else_it_has():
    assert holds({"a": 1, "b": 2}, {"a": 1})
    assert not holds({"a": 1}, {"a": 1, "b": 2})
    assert not holds({"a": 1}, {})
