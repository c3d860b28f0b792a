"""The report of rotations, and the status of targets."""

import pytest

from lessee.config.parsing import parse
from lessee.core.consumers import ConfirmationStatus
from lessee.core.immutable import replace
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import HistoryEntry, Journal, Step
from lessee.ops.rotate.policy.report import Problem, Result, Row, as_data, line, not_due, rfc3339, state, table

TEXT = """
environment: production
rotation:
  daily: {kind: vault, secret: auth/jwt, keys: {key: {}}, rotation_period: 1d}
  exact: {kind: vault, secret: auth/jwt, keys: {other: {}}, rotation_period: 1d, jitter: 0s}
  on-request: {kind: vault, secret: auth/jwt, keys: {third: {}}}
  tokens: {kind: jwt-key, secret: jwt, verifier_secret: jwks, token_ttl: 1h, rotation_period: 1d}
"""
ROTATION = parse(TEXT, source="lessee.yaml", environ={}, blocks=("rotation",)).rotation
DAY, NOW = 86400.0, 100 * 86400.0
BOTH = ConfirmationStatus(("a/1",), ("b/1", "b/2"))
ROTATED = Journal(published_version=4, rotated_at=NOW - 60, count=3)


_LEFT = (
    "x: waiting for consumers; version 4; 0.0 s;"
    " the old credential stays valid for b/1, b/2 until the next `lessee rotate`"
)
_UNREAD = "x: rotated; version 4; 1.2 s; no consumer is known"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            Result("x", Outcome.ROTATED, ROTATED, ConfirmationStatus(), 1.25),
            _UNREAD,
        ),
        (
            Result("x", Outcome.ROTATED, ROTATED, BOTH, 1.0),
            "x: rotated; version 4; 1.0 s; confirmed by a/1; NOT confirmed by b/1, b/2",
        ),
        (Result("x", Outcome.ALREADY_ROTATED, ROTATED, None, 0.0), "x: already rotated; version 4; 0.0 s"),
        (Result("x", Outcome.NOTHING, Journal(), None, 0.0), "x: finished; 0.0 s"),
        (
            Result("x", Outcome.WAITING, replace(ROTATED, step=Step.PUBLISHED), BOTH, 0.0),
            _LEFT,
        ),
        (
            Result("x", Outcome.WAITING, replace(ROTATED, step=Step.CREATED), None, 0.0),
            "x: waiting for servers to load the new credential; version 4; 0.0 s",
        ),
        (
            Result("x", Outcome.RETAINING, replace(ROTATED, step=Step.RETAINING, delete_at=NOW), None, 0.0),
            (
                "x: old credential retained; version 4; 0.0 s;"
                " the old credential is disabled, and deleted after 1970-04-11T00:00:00Z"
            ),
        ),
        (
            Result("x", Outcome.RETAINING, replace(ROTATED, step=Step.RETAINING, delete_at=NOW), None, 0, "", True),
            "x: old credential retained; version 4; 0.0 s; the old credential stays valid until 1970-04-11T00:00:00Z",
        ),
        (
            Result("x", Outcome.WAITING, replace(ROTATED, step=Step.PUBLISHED), BOTH, 0.0, "abc:1:42:9:f"),
            "x: left to another rotator; version 4; 0.0 s; process 42 on the machine with boot id abc rotates it",
        ),
        (
            Result("x", Outcome.ROTATED, replace(ROTATED, step=Step.PUBLISHED), BOTH, 0.0, "abc:1:42:9:f"),
            "x: rotated; version 4; 0.0 s; process 42 on the machine with boot id abc rotates it",
        ),
    ],
)
def test_a_result_line_has_the_outcome_and_the_consumers(result, expected):
    assert line(result) == expected


def test_a_target_that_is_not_due_has_its_next_rotation():
    assert not_due("x", ROTATION["daily"], Journal(rotated_at=NOW), NOW) == "x: not due; next 1970-04-12T00:00:00Z"
    assert not_due("x", ROTATION["on-request"], Journal(), NOW) == "x: not due; no `rotation_period`"


@pytest.mark.parametrize(
    ("name", "journal", "changed_at", "word"),
    [
        ("daily", Journal(), 0.0, "never rotated"),
        ("daily", Journal(), NOW - 2 * DAY, "OVERDUE"),
        ("daily", Journal(rotated_at=NOW - DAY - 3599, count=1), 0.0, "idle"),
        ("daily", Journal(rotated_at=NOW - DAY - 3601, count=1), 0.0, "OVERDUE"),
        ("exact", Journal(rotated_at=NOW - DAY - 1, count=1), 0.0, "OVERDUE"),
        ("on-request", Journal(rotated_at=1.0, count=1), 0.0, "idle"),
        ("on-request", Journal(step=Step.CREATED), 0.0, "created"),
        ("on-request", Journal(rotated_at=1.0, count=1, step=Step.RETAINING, delete_at=NOW), 0.0, "retaining"),
        ("daily", Journal(rotated_at=1.0, failures=1, step=Step.PUBLISHED), 0.0, "FAILED"),
    ],
)
def test_the_state_is_the_worst_that_applies(name, journal, changed_at, word):
    assert state(Row("x", ROTATION[name], journal, changed_at=changed_at), NOW) == word


def test_the_table_lists_all_problems():
    open_ = Journal(step=Step.CREATED, started_at=NOW - 90, lock_owner="abc:1:42:9:f", locked_until=NOW + 5)
    rows = [
        Row("one", ROTATION["daily"], ROTATED, BOTH, 4),
        Row("locked", ROTATION["on-request"], open_, ConfirmationStatus(), 1, NOW - 3 * DAY),
        Row("odd", ROTATION["on-request"], replace(open_, lock_owner="\x1b[2J"), None),
        Row("exited", ROTATION["on-request"], open_, None, lock_owner_exited=True),
        Row("failed", ROTATION["daily"], Journal(failures=1, error="a\x07b", failed_at=NOW), None),
        Row("many", ROTATION["daily"], replace(ROTATED, failures=2, error="away", failed_at=NOW), None),
        Row("ended", ROTATION["daily"], replace(ROTATED, error="changed manually", missing=("b/1",)), None),
        Row("old", ROTATION["daily"], replace(ROTATED, step=Step.RETAINING, delete_at=NOW + 9), None),
    ]
    process = "process 42 on the machine with boot id abc"
    assert table(rows, [Problem("other", "no rights")], NOW).splitlines() == [
        "TARGET  KIND   COUNT  LAST                  AGE  PERIOD  NEXT                  CONFIRMED  STATE",
        "one     vault  3      1970-04-10T23:59:00Z  1m   1d      1970-04-11T23:59:00Z  1/3        idle",
        "  not yet confirmed by b/1, b/2",
        "locked  vault  0      never                 3d   -       on request            0/0        created",
        f"  created since {rfc3339(NOW - 90)}, locked by {process} until {rfc3339(NOW + 5)}",
        "odd     vault  0      never                 -    -       on request            ?          created",
        r"  created since 1970-04-10T23:58:30Z, locked by '\x1b[2J' until 1970-04-11T00:00:05Z",
        "exited  vault  0      never                 -    -       on request            ?          created",
        "  created since 1970-04-10T23:58:30Z, and no rotator has the lock: run `lessee rotate` to finish it",
        "failed  vault  0      never                 -    1d      now                   ?          FAILED",
        r"  ! 1 consecutive failure, last 1970-04-11T00:00:00Z: 'a\x07b'",
        "many    vault  3      1970-04-10T23:59:00Z  1m   1d      1970-04-11T23:59:00Z  ?          FAILED",
        "  ! 2 consecutive failures, last 1970-04-11T00:00:00Z: away",
        "ended   vault  3      1970-04-10T23:59:00Z  1m   1d      1970-04-11T23:59:00Z  ?          idle",
        "  not confirmed at the last revocation by b/1",
        "  ! abandoned: changed manually",
        "old     vault  3      1970-04-10T23:59:00Z  1m   1d      1970-04-11T23:59:00Z  ?          retaining",
        "  the old credential is disabled, and deleted after 1970-04-11T00:00:09Z",
        "! other: no rights",
    ]


def test_ages_are_printed_in_their_largest_unit():
    row = Row("x", ROTATION["on-request"], Journal(rotated_at=NOW - 59.0), None)
    assert " 59s " in table([row], [], NOW)
    assert " 23h " in table([replace(row, journal=Journal(rotated_at=NOW - DAY + 3599))], [], NOW)


def test_the_json_has_stable_keys():
    recorded = replace(
        ROTATED, history=(HistoryEntry("i1", NOW - 60, 4),), propagation_times=(1.5,), current={"key": "a-value"}
    )
    data = as_data("production", [Row("one", ROTATION["daily"], recorded, BOTH, 4)], [Problem("p", "why")], NOW)
    (target,) = data.pop("targets")
    assert data == {
        "environment": "production",
        "at": rfc3339(NOW),
        "problems": [{"target": "p", "error": "why"}],
    }
    assert target == {
        "name": "one",
        "kind": "vault",
        "secret": "auth/jwt",
        "state": "idle",
        "step": "idle",
        "rotation_count": 3,
        "version": 4,
        "last_rotated_at": rfc3339(NOW - 60),
        "next_rotation_at": rfc3339(NOW - 60 + DAY),
        "rotation_period": DAY,
        "age": 60.0,
        "overdue": False,
        "started_at": None,
        "lock_owner": None,
        "locked_until": None,
        "delete_at": None,
        "confirmed_consumers": ["a/1"],
        "unconfirmed_consumers": ["b/1", "b/2"],
        "unconfirmed_at_revocation": [],
        "consecutive_failures": 0,
        "error": None,
        "last_failed_at": None,
        "propagation_times": [1.5],
        "history": [{"id": "i1", "at": rfc3339(NOW - 60), "version": 4}],
    }


def test_the_json_has_the_lock_of_an_open_rotation():
    recorded = Journal(step=Step.CREATING, started_at=NOW - 9, lock_owner="h", locked_until=NOW + 1)
    data = as_data(None, [Row("one", ROTATION["daily"], recorded)], [], NOW)
    (target,) = data["targets"]
    assert (target["lock_owner"], target["locked_until"]) == ("h", rfc3339(NOW + 1))
    assert (target["started_at"], target["next_rotation_at"]) == (rfc3339(NOW - 9), rfc3339(NOW))
    assert (target["age"], target["version"], target["confirmed_consumers"], target["unconfirmed_consumers"]) == (
        None,
        None,
        None,
        None,
    )
    assert (
        as_data(None, [Row("one", ROTATION["on-request"], recorded)], [], NOW)["targets"][0]["next_rotation_at"] is None
    )


def test_the_status_says_that_verifiers_accept_a_retained_key():
    row = Row("tokens", ROTATION["tokens"], replace(ROTATED, step=Step.RETAINING, delete_at=NOW + 9), None)
    assert table([row], [], NOW).splitlines()[-1] == "  the old credential stays valid until 1970-04-11T00:00:09Z"
