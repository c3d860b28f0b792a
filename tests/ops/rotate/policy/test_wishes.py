"""What somebody wishes for is not done twice, nor waited for longer than it must be."""

import pytest

from lessee.ops.rotate.policy.decision import JUST, Done, Outcome, Secret, Sight, Traits, Wait, decide
from lessee.ops.rotate.policy.journal import Journal, Step

NOW = 1000.0


def seen(step, rotated_at, **said):
    journal = Journal(step=step, holder="other", held_until=NOW + 30, rotated_at=rotated_at)
    sight = {"since": NOW, "within": 300.0, "secret": Secret(1, {}), "traits": Traits(), "holder": "own", "now": NOW}
    return Sight(journal=journal, **(sight | said))


@pytest.mark.parametrize("force", [False, True])
def test_what_another_has_published_since_is_what_was_wished_for(force):
    assert decide(seen(Step.PUBLISHED, NOW, force=force)) == Done(Outcome.JUST_ROTATED)


@pytest.mark.parametrize(
    "sight",
    [
        seen(Step.PUBLISHED, NOW - 1, force=True),
        seen(Step.PUBLISHED, NOW - JUST - 1),
        seen(Step.PUBLISHED, NOW, open_only=True),
        seen(Step.CREATED, NOW),
        seen(Step.PUBLISHED, 0.0, since=-NOW, force=True),
    ],
    ids=["before the wish", "long ago", "to finish it", "not yet published", "never"],
)
def test_for_anything_else_another_rotator_is_waited_for(sight):
    assert decide(sight) == Wait(0.2, "other")
