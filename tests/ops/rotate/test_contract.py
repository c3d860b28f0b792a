"""The promises of every kind of rotation, tested on its real system."""

import pytest

from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import sampled_calls
from support.thorough import sampled

_FIRST_CALLS = 3
"""The calls in which a target's first rotation differs from later ones."""


@pytest.mark.thorough(each=6)
def test_the_published_credential_works_and_the_old_one_is_revoked(target):
    before = target.fields()
    assert target.rotate() is Outcome.ROTATED
    after = target.fields()
    assert target.system.accepts(after)
    assert target.system.orphans(after) == set()
    assert target.system.old_is_revoked(before) is not False
    assert after["rotation_count"] == 1
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed - {"rotation_timestamp", "rotation_count"}
    custom = target.metadata()["custom_metadata"]
    assert custom["rotation_count"] == "1"
    assert custom["rotation_history"].endswith("=v2")


@pytest.mark.thorough(each=6)
def test_several_rotations_leave_what_one_leaves(target):
    for _ in range(4):
        target.rotate()
        assert target.system.accepts(target.fields())
    fields = target.fields()
    assert target.system.orphans(fields) == set()
    assert fields["rotation_count"] == 4
    assert target.journal.count == 4
    assert not target.journal.is_open
    assert not target.journal.pending


@pytest.mark.thorough(each=2)
def test_other_keys_of_the_secret_are_unchanged(target):
    before = target.fields()
    target.put(target.secret_path, **before, note="by a user")
    target.rotate()
    assert target.fields()["note"] == "by a user"


@pytest.mark.thorough(each=18)
def test_after_a_kill_at_any_call_the_next_start_recovers(target, system_name):
    """And one rotation creates only one value: the recorded one is published.

    A kill after a call leaves what a kill before the next one leaves, so it needs no test of its own.
    """
    for call_index in sampled(range(_FIRST_CALLS + 1), of=4, key=f"first of {system_name}"):
        assert target.rotate_and_kill(call_index, after=False)
        target.recover()
        assert target.system.orphans(target.fields()) == set()
    target.rotate()  # From here on all rotations make the same calls, so each is tested.
    for call_index in sampled_calls(system_name, of=4, least=target.system.min_calls):
        was_killed = target.rotate_and_kill(call_index, after=False)
        recorded = target.journal.pending
        target.recover()
        fields = target.fields()
        assert {key: fields[key] for key in recorded} == recorded
        assert target.system.orphans(fields) == set()
        assert target.journal.step in {Step.IDLE, Step.RETAINING}
        if not was_killed:
            break
    assert call_index >= target.system.min_calls
