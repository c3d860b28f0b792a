"""Journals are parsed as they were serialized, and invalid ones are rejected."""

import pytest
from msgspec import json

from lessee.core.immutable import replace
from lessee.ops.rotate.policy.journal import HistoryEntry, Journal, Step, closed, contains, parse, serialize

OPEN = Journal(
    step=Step.PUBLISHED,
    id="cafe",
    fence=3,
    lock_owner="another",
    locked_until=12.5,
    current={"password": "canary-old"},
    pending={"password": "canary-new"},
    handle="key-1",
    pending_handle="key-2",
    existing=("key-1",),
    count=4,
    failures=2,
    error="it was away",
    history=(HistoryEntry("cafe", 3.0, 7),),
)


def test_a_journal_is_parsed_as_it_was_serialized():
    assert parse(json.decode(json.encode(serialize(OPEN)))) == OPEN


def test_whole_numbers_are_parsed_as_floats():
    fields = serialize(OPEN) | {"locked_until": 12, "started_at": 0}
    assert parse(fields) == replace(OPEN, locked_until=12.0)


def test_a_missing_document_is_an_empty_journal():
    assert parse({}) == Journal()
    assert not Journal().is_open


NOW = 1000.0


def test_timestamps_in_the_future_are_clamped():
    far = NOW + 61.0
    journal = Journal(
        step=Step.RETAINING,
        started_at=far,
        published_at=far,
        confirmed_at=far,
        delete_at=far + 60.0,
        rotated_at=far,
        failed_at=far,
        count=3,
    )
    seen = journal.clamped(NOW)
    assert {seen.started_at, seen.published_at, seen.confirmed_at, seen.delete_at, seen.failed_at} == {NOW}
    assert (seen.rotated_at, seen.count, seen.step) == (0.0, 3, Step.RETAINING)  # The time is not known, so it is due.


def test_timestamps_within_the_clock_skew_are_unchanged():
    journal = Journal(started_at=NOW + 60.0, rotated_at=NOW + 60.0, delete_at=NOW * 9)
    assert journal.clamped(NOW) is journal
    assert replace(journal, failed_at=NOW + 61.0).clamped(NOW) == replace(journal, started_at=NOW, failed_at=NOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "canary-x"},
        serialize(OPEN) | {"step": "canary-x"},
        serialize(OPEN) | {"count": "canary-x"},
        serialize(OPEN) | {"current": ["canary-x"]},
        serialize(OPEN) | {"pending": {}},
        serialize(OPEN) | {"step": "created", "pending": {}},
        serialize(OPEN) | {"rotated_at": 1e300},
        serialize(OPEN) | {"history": [{"id": "canary-x", "at": -1.0, "version": 3}]},
        {key: value for key, value in serialize(OPEN).items() if key != "fence"},
    ],
)
def test_an_invalid_journal_is_rejected_without_its_content(fields):
    with pytest.raises(ValueError, match="not a rotation journal") as caught:
        parse(fields)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_closed_journal_has_no_value_and_no_failure():
    done = closed(OPEN, handle="key-2")
    assert "canary" not in str(serialize(done))
    assert (done.step, done.lock_owner, done.handle, done.failures, done.error) == (Step.IDLE, "", "key-2", 0, "")
    assert (done.count, done.history, done.fence) == (OPEN.count, OPEN.history, OPEN.fence)


def test_no_value_is_in_the_repr_of_a_journal():
    assert "canary" not in repr(OPEN)


@pytest.mark.parametrize("step", Step)
def test_a_journal_is_open_until_its_rotation_is_finished(step):
    assert replace(OPEN, step=step).is_open is (step not in {Step.IDLE, Step.RETAINING})


def test_contains_ignores_other_keys():
    assert contains({"a": 1, "b": 2}, {"a": 1})
    assert not contains({"a": 1}, {"a": 1, "b": 2})
    assert not contains({"a": 1}, {})
