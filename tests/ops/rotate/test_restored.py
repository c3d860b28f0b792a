"""`--to-version`: an earlier credential is set again, in its system and in Vault."""

import pytest

from lessee.ops.rotate.policy.decision import Outcome
from support.environments.rotation_targets import sampled_calls

RESTORABLE = (
    "mysql",
    "mysql, one user",
    "mysql, own login",
    "postgres",
    "postgres, one role",
    "postgres, own login",
    "rabbitmq, one user",
    "rabbitmq, own login",
    "redis",
    "redis, own login",
)
"""The systems whose earlier credential can exist again."""
pytestmark = pytest.mark.parametrize("new_system", RESTORABLE, indirect=True)


def login(fields):
    return {key: fields[key] for key in fields if key not in {"rotation_timestamp", "rotation_count"}}


@pytest.mark.thorough(each=3)
def test_the_earlier_credential_works_again_and_the_later_one_does_not(target):
    before = target.fields()
    target.rotate()
    later = target.fields()
    assert target.rotate(restored=before) is Outcome.ROTATED
    assert login(target.fields()) == login(before)
    assert target.system.accepts(before)
    assert target.system.orphans(target.fields()) == set()
    assert target.system.old_is_revoked(later) is not False
    assert target.rotate(restored=before) is Outcome.NOTHING
    assert not target.journal.pending
    # And a rotation after it leaves nothing of it.
    assert target.rotate() is Outcome.ROTATED
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


@pytest.mark.thorough(each=7)
def test_a_kill_at_any_call_locks_nothing_out(target, system_name):
    before = target.fields()
    for call_index in sampled_calls(system_name, of=4, least=8):
        target.rotate()
        was_killed = target.rotate_and_kill(call_index, after=False, restored=before)
        target.recover()
        target.rotate(restored=before)
        assert login(target.fields()) == login(before)
        assert target.system.accepts(before)
        assert target.system.orphans(target.fields()) == set()
        if not was_killed:
            break
    assert call_index >= 8
