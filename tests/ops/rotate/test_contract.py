"""What every kind of rotation promises, on its real system; the same tests for all."""

from itertools import count

import pytest

from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step

_AT_FIRST = 3
"""So many calls, and the first rotation of all differs from those after it."""


def test_what_is_published_works_and_the_old_is_over(rotated):
    before = rotated.fields()
    assert rotated.rotate() is Outcome.ROTATED
    after = rotated.fields()
    assert rotated.system.lets_in(after)
    assert rotated.system.orphans(after) == set()
    assert rotated.system.old_is_over(before) is not False
    assert after["rotation_count"] == 1
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed - {"rotation_timestamp", "rotation_count"}
    told = rotated.metadata()["custom_metadata"]
    assert told["rotation_count"] == "1"
    assert told["rotation_history"].endswith("=v2")


def test_several_in_a_row_leave_what_one_leaves(rotated):
    for _ in range(4):
        rotated.rotate()
        assert rotated.system.lets_in(rotated.fields())
    fields = rotated.fields()
    assert rotated.system.orphans(fields) == set()
    assert fields["rotation_count"] == 4
    assert rotated.journal.count == 4
    assert not rotated.journal.is_open
    assert not rotated.journal.pending


def test_what_else_stands_in_the_secret_is_kept(rotated):
    before = rotated.fields()
    rotated.put(rotated.secret_path, **before, note="of a person")
    rotated.rotate()
    assert rotated.fields()["note"] == "of a person"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_call_the_published_credential_works_after_the_next_start(rotated, after):
    """And for one rotation only one value is made: what was noted is what is published."""
    for crossing in range(_AT_FIRST):
        assert rotated.killed(crossing, after=after)
        rotated.recover()
        assert rotated.system.orphans(rotated.fields()) == set()
    rotated.rotate()  # From now on each rotation makes the same calls, and so none is passed over.
    crossed = 0
    for crossing in count():
        was_killed = rotated.killed(crossing, after=after)
        noted = rotated.journal.pending
        rotated.recover()
        fields = rotated.fields()
        assert {key: fields[key] for key in noted} == noted
        assert rotated.system.orphans(fields) == set()
        assert rotated.journal.step in {Step.IDLE, Step.RETAINING}
        if not was_killed:
            break
        crossed += 1
    assert crossed >= rotated.system.crossings_least
