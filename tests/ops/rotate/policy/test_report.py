"""How what came of rotations, and how they stand, is told."""

import pytest

from lessee.config.parsing import parse
from lessee.core.consumers import Standing
from lessee.core.immutable import replace
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Journal, Past, Step
from lessee.ops.rotate.policy.report import Problem, Result, Row, as_data, line, moment, not_due, state, table

TEXT = """
environment: production
rotation:
  daily: {kind: vault, secret: auth/jwt, keys: {key: {}}, every: 1d}
  exact: {kind: vault, secret: auth/jwt, keys: {other: {}}, every: 1d, jitter: 0s}
  asked: {kind: vault, secret: auth/jwt, keys: {third: {}}}
"""
ROTATION = parse(TEXT, source="lessee.yaml", environ={}, blocks=("rotation",)).rotation
DAY, NOW = 86400.0, 100 * 86400.0
BOTH = Standing(("a/1",), ("b/1", "b/2"))
ROTATED = Journal(published_version=4, rotated_at=NOW - 60, count=3)


_LEFT = (
    "x: waiting for consumers; version 4; 0.0 s; the old one stays valid for b/1, b/2 until the next `lessee rotate`"
)
_UNREAD = "x: rotated; version 4; 1.2 s; nobody is known to read it"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (
            Result("x", Outcome.ROTATED, ROTATED, Standing(), 1.25),
            _UNREAD,
        ),
        (
            Result("x", Outcome.ROTATED, ROTATED, BOTH, 1.0),
            "x: rotated; version 4; 1.0 s; confirmed by a/1; NOT confirmed by b/1, b/2",
        ),
        (Result("x", Outcome.JUST_ROTATED, ROTATED, None, 0.0), "x: just rotated; version 4; 0.0 s"),
        (Result("x", Outcome.NOTHING, Journal(), None, 0.0), "x: finished; 0.0 s"),
        (
            Result("x", Outcome.WAITING, replace(ROTATED, step=Step.PUBLISHED), BOTH, 0.0),
            _LEFT,
        ),
        (
            Result("x", Outcome.KEEPING, replace(ROTATED, step=Step.KEEPING, keep_until=NOW), None, 0.0),
            "x: keeping the old one; version 4; 0.0 s; the old one is kept, disabled, until 1970-04-11T00:00:00Z",
        ),
        (
            Result("x", Outcome.WAITING, replace(ROTATED, step=Step.PUBLISHED), BOTH, 0.0, "abc:1:42:9:f"),
            "x: left to another rotator; version 4; 0.0 s; process 42 on the machine booted as abc is at it",
        ),
        (
            Result("x", Outcome.ROTATED, replace(ROTATED, step=Step.PUBLISHED), BOTH, 0.0, "abc:1:42:9:f"),
            "x: rotated; version 4; 0.0 s; process 42 on the machine booted as abc is at it",
        ),
    ],
)
def test_a_line_says_what_came_of_it_and_who_works_with_that(result, told):
    assert line(result) == told


def test_what_is_not_due_says_when_it_is():
    assert not_due("x", ROTATION["daily"], Journal(rotated_at=NOW), NOW) == "x: not due; next 1970-04-12T00:00:00Z"
    assert not_due("x", ROTATION["asked"], Journal(), NOW) == "x: not due; when asked for, for it has no `every`"


@pytest.mark.parametrize(
    ("name", "journal", "changed_at", "word"),
    [
        ("daily", Journal(), 0.0, "never rotated"),
        ("daily", Journal(), NOW - 2 * DAY, "OVERDUE"),
        ("daily", Journal(rotated_at=NOW - DAY - 3599, count=1), 0.0, "idle"),
        ("daily", Journal(rotated_at=NOW - DAY - 3601, count=1), 0.0, "OVERDUE"),
        ("exact", Journal(rotated_at=NOW - DAY - 1, count=1), 0.0, "OVERDUE"),
        ("asked", Journal(rotated_at=1.0, count=1), 0.0, "idle"),
        ("asked", Journal(step=Step.CREATED), 0.0, "created"),
        ("asked", Journal(rotated_at=1.0, count=1, step=Step.KEEPING, keep_until=NOW), 0.0, "keeping"),
        ("daily", Journal(rotated_at=1.0, failures=1, step=Step.PUBLISHED), 0.0, "FAILED"),
    ],
)
def test_its_state_in_a_word(name, journal, changed_at, word):
    assert state(Row("x", ROTATION[name], journal, changed_at=changed_at), NOW) == word


def test_the_table_tells_people_all_that_is_wrong():
    open_ = Journal(step=Step.CREATED, started_at=NOW - 90, holder="abc:1:42:9:f", held_until=NOW + 5)
    rows = [
        Row("one", ROTATION["daily"], ROTATED, BOTH, 4),
        Row("held", ROTATION["asked"], open_, Standing(), 1, NOW - 3 * DAY),
        Row("odd", ROTATION["asked"], replace(open_, holder="\x1b[2J"), None),
        Row("left", ROTATION["asked"], open_, None, holder_left=True),
        Row("failed", ROTATION["daily"], Journal(failures=1, error="a\x07b", failed_at=NOW), None),
        Row("many", ROTATION["daily"], replace(ROTATED, failures=2, error="away", failed_at=NOW), None),
        Row("given", ROTATION["daily"], replace(ROTATED, error="changed by hand", missing=("b/1",)), None),
        Row("kept", ROTATION["daily"], replace(ROTATED, step=Step.KEEPING, keep_until=NOW + 9), None),
    ]
    assert table(rows, [Problem("other", "no rights")], NOW).splitlines() == [
        "TARGET  KIND   COUNT  LAST                  AGE  EVERY  NEXT                  CONSUMERS  STATE",
        "one     vault  3      1970-04-10T23:59:00Z  1m   1d     1970-04-11T23:59:00Z  1/3        idle",
        "  not yet confirmed by b/1, b/2",
        "held    vault  0      never                 3d   -      when asked            0/0        created",
        f"  created since {moment(NOW - 90)}, held by process 42 on the machine booted as abc until {moment(NOW + 5)}",
        "odd     vault  0      never                 -    -      when asked            ?          created",
        r"  created since 1970-04-10T23:58:30Z, held by '\x1b[2J' until 1970-04-11T00:00:05Z",
        "left    vault  0      never                 -    -      when asked            ?          created",
        "  created since 1970-04-10T23:58:30Z, and nobody is at it: `lessee rotate` finishes it",
        "failed  vault  0      never                 -    1d     now                   ?          FAILED",
        r"  ! 1 time in a row, last 1970-04-11T00:00:00Z: 'a\x07b'",
        "many    vault  3      1970-04-10T23:59:00Z  1m   1d     1970-04-11T23:59:00Z  ?          FAILED",
        "  ! 2 times in a row, last 1970-04-11T00:00:00Z: away",
        "given   vault  3      1970-04-10T23:59:00Z  1m   1d     1970-04-11T23:59:00Z  ?          idle",
        "  the last retirement did not wait for b/1",
        "  ! given up: changed by hand",
        "kept    vault  3      1970-04-10T23:59:00Z  1m   1d     1970-04-11T23:59:00Z  ?          keeping",
        "  the old one is kept, disabled, until 1970-04-11T00:00:09Z",
        "! other: no rights",
    ]


def test_a_young_one_is_told_in_seconds():
    row = Row("x", ROTATION["asked"], Journal(rotated_at=NOW - 59.0), None)
    assert " 59s " in table([row], [], NOW)
    assert " 23h " in table([replace(row, journal=Journal(rotated_at=NOW - DAY + 3599))], [], NOW)


def test_for_programs_the_same_in_keys_that_stay():
    noted = replace(ROTATED, history=(Past("i1", NOW - 60, 4),), propagations=(1.5,), current={"key": "a-value"})
    data = as_data("production", [Row("one", ROTATION["daily"], noted, BOTH, 4)], [Problem("p", "why")], NOW)
    (target,) = data.pop("targets")
    assert data == {
        "environment": "production",
        "at": moment(NOW),
        "problems": [{"target": "p", "error": "why"}],
    }
    assert target == {
        "name": "one",
        "kind": "vault",
        "secret": "auth/jwt",
        "state": "idle",
        "step": "idle",
        "count": 3,
        "version": 4,
        "rotated_at": moment(NOW - 60),
        "next_at": moment(NOW - 60 + DAY),
        "every": DAY,
        "age": 60.0,
        "overdue": False,
        "started_at": None,
        "held_by": None,
        "held_until": None,
        "keep_until": None,
        "confirmed": ["a/1"],
        "missing": ["b/1", "b/2"],
        "not_waited_for": [],
        "failures": 0,
        "error": None,
        "failed_at": None,
        "propagations": [1.5],
        "history": [{"id": "i1", "at": moment(NOW - 60), "version": 4}],
    }


def test_for_programs_what_is_open_and_what_is_not_known():
    noted = Journal(step=Step.CREATING, started_at=NOW - 9, holder="h", held_until=NOW + 1)
    data = as_data(None, [Row("one", ROTATION["daily"], noted)], [], NOW)
    (target,) = data["targets"]
    assert (target["held_by"], target["held_until"]) == ("h", moment(NOW + 1))
    assert (target["started_at"], target["next_at"]) == (moment(NOW - 9), moment(NOW))
    assert (target["age"], target["version"], target["confirmed"], target["missing"]) == (None, None, None, None)
    assert as_data(None, [Row("one", ROTATION["asked"], noted)], [], NOW)["targets"][0]["next_at"] is None
