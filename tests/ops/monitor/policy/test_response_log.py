"""The budget follows from the log of responses, which a restart and a clock that jumps do not reset."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.ops.monitor.policy import response_log as log
from lessee.ops.monitor.policy.response_log import HOUR, MAX_RECORDS, Record
from support.models.alert_rules import NOON


def record(event="counted", at=NOON, **fields):
    defaults = {
        "id": "r1", "response": "one", "action": "revoke-token", "rule": "denials", "subject": "simba",
        "alert_at": NOON - 5, "target": "token acc (simba)",
    }  # fmt: skip
    return Record(at=at, event=event, **(defaults | fields))


def test_a_record_is_one_line():
    one = record(detail="a\nb", previous=("10.0.0.0/8",))
    assert log.encode(one).count(b"\n") == 1
    assert log.decode(log.encode(one)) == one
    with pytest.raises(msgspec.MsgspecError):
        log.decode(b'{"at": 1}')


def test_only_what_was_counted_within_the_hour_uses_the_budget():
    records = [
        record("counted", NOON - HOUR),
        record("counted", NOON - HOUR + 1),
        record("done"),
        record("asked"),
        record(response="two"),
    ]
    assert log.used(records, "one", NOON) == 1


def test_a_clock_that_was_set_back_frees_no_budget():
    assert log.used([record(at=NOON)], "one", NOON - 86400) == 1


@given(st.lists(st.floats(0, 4 * HOUR), max_size=60), st.integers(1, 5))
def test_no_hour_has_more_responses_than_the_budget(moments, limit):
    records = []
    for at in sorted(moments):
        if log.used(records, "one", at) < limit:
            records.append(record(at=at))
    for one in records:
        assert sum(one.at <= other.at < one.at + HOUR for other in records) <= limit


def test_a_response_waits_until_it_is_answered_or_expires():
    asked = record("asked", expires_at=NOON + 60)
    assert log.pending([asked], NOON + 59) == [asked]
    assert log.pending([asked], NOON + 60) == []
    assert log.pending([asked, record("counted")], NOON) == []


def test_a_start_keeps_the_newest_the_last_hour_and_what_waits():
    old = record("done", NOON - 2 * HOUR, id="old")
    asked = record("asked", NOON - 2 * HOUR, id="asked", expires_at=NOON + 60)
    recent = record("counted", NOON - 60, id="recent")
    many = [record("done", NOON - 2 * HOUR, id=f"{number}") for number in range(MAX_RECORDS)]
    assert log.to_keep([old, asked, recent], NOON) == [old, asked, recent]
    assert log.to_keep([old, asked, recent, *many], NOON) == [asked, recent, *many]


@pytest.mark.parametrize(
    ("event", "expected"), [("asked", True), ("done", True), ("failed", False), ("counted", False)]
)
def test_a_token_is_struck_once(event, expected):
    assert log.was_struck([record(event, accessor="acc")], "one", "acc") is expected
    assert not log.was_struck([record(event, accessor="acc")], "two", "acc")


def test_an_alert_causes_a_response_once_and_a_later_one_causes_it_again():
    assert log.was_caused([record()], "one", "denials", "simba", NOON - 5)
    assert not log.was_caused([record()], "one", "denials", "simba", NOON)


def test_an_approver_signs_what_will_be_done():
    asked = record("asked", expires_at=NOON + 60)
    assert log.request_text(asked) == (
        "lessee response\nid: r1\nresponse: one\naction: revoke-token\ntarget: token acc (simba)\nrule: denials\n"
        "subject: simba\ndry_run: false\nexpires: 1700049660\n"
    )
    changed = [{"id": "r2"}, {"target": "token other"}, {"action": "disable-role"}, {"dry_run": True}]
    assert len({log.request_text(replace(asked, **one)) for one in (*changed, {})}) == 5


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            record("asked", expires_at=NOON + 1),
            "revoke-token token acc (simba) waits for approval: lessee monitor approve r1",
        ),
        (record("asked", expires_at=NOON), "revoke-token token acc (simba): not approved in time"),
        (record(), "revoke-token token acc (simba): interrupted, may have happened (r1)"),
        (record("failed", detail="why"), "revoke-token token acc (simba) failed: why"),
        (record("undone", detail="alice"), "revoke-token token acc (simba): undone by alice"),
        (record("done", dry_run=True), "dry run: would revoke-token token acc (simba)"),
        (
            record("done"),
            "revoke-token token acc (simba): done; cannot be undone: a client that may still log in gets a new token",
        ),
        (
            record("done", action="disable-role", target="simba", undoable=True, detail="more"),
            "disable-role simba: done, more; undo: lessee monitor undo r1",
        ),
        (record("done", action="command", target="x"), "command x: done; cannot be undone"),
    ],
)  # fmt: skip
def test_a_sentence_says_what_became_of_it(one, expected):
    assert log.sentence(one, NOON) == expected


def test_the_next_record_is_of_the_same_response():
    after = log.with_event(record(), "done", NOON + 1, "why")
    assert (after.id, after.event, after.at, after.detail) == ("r1", "done", NOON + 1, "why")
    assert log.latest([record(), after]) == {"r1": after}
