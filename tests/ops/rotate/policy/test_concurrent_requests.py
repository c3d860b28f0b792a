"""Two requests for the same rotation are fulfilled by one, and wait no longer than necessary."""

import pytest

from lessee.ops.rotate.policy.decision import RECENT, Done, Outcome, Secret, Situation, Traits, Wait, decide
from lessee.ops.rotate.policy.journal import Journal, Step

NOW = 1000.0


def situation_with(step, rotated_at, **changes):
    journal = Journal(step=step, lock_owner="other", locked_until=NOW + 30, rotated_at=rotated_at)
    known = {
        "requested_at": NOW,
        "confirmation_timeout": 300.0,
        "secret": Secret(1, {}),
        "traits": Traits(),
        "own_id": "own",
        "now": NOW,
    }
    return Situation(journal=journal, **(known | changes))


@pytest.mark.parametrize("force", [False, True])
def test_a_rotation_published_since_the_request_fulfills_it(force):
    assert decide(situation_with(Step.PUBLISHED, NOW, force=force)) == Done(Outcome.ALREADY_ROTATED)


@pytest.mark.parametrize(
    "situation",
    [
        situation_with(Step.PUBLISHED, NOW - 1, force=True),
        situation_with(Step.PUBLISHED, NOW - RECENT - 1),
        situation_with(Step.PUBLISHED, NOW, finish_only=True),
        situation_with(Step.CREATED, NOW),
        situation_with(Step.PUBLISHED, 0.0, requested_at=-NOW, force=True),
    ],
    ids=["before the request", "long ago", "to finish it", "not yet published", "never"],
)
def test_any_other_request_waits_for_the_lock(situation):
    assert decide(situation) == Wait(0.2, "other")
