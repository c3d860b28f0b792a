"""What is to be done next for one target of the service, and when."""

from lessee.core.immutable import replace
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.schedule import due_at, first_at, opening
from lessee.ops.rotate.policy.service_state import NEVER, Target

ALERT = 3
"""Failures in a row that a person must hear of."""


def is_failing(one: Target) -> bool:
    """Whether a person must hear of it."""
    return one.failures >= ALERT


def due(one: Target) -> float:
    """When its next rotation may begin."""
    if one.journal is None or one.refusal:
        return NEVER
    schedule, last = one.plan.schedule, one.journal.rotated_at
    at = due_at(schedule, last, one.draw) if last else first_at(schedule, one.seen_at, one.draw)
    return opening(schedule, max(at, one.again_at))


def settled(one: Target) -> Target:
    """With what is to be done next."""
    journal = one.journal
    if journal is None:
        return one
    if journal.is_open:
        # It is finished at once, whatever the windows say: two credentials are valid meanwhile.
        return replace(one, at=max(one.again_at, _goes_on(one, journal)), open_only=True)
    keep = max(one.again_at, journal.keep_until) if journal.step is Step.KEEPING else NEVER
    at = due(one)
    return replace(one, at=min(keep, at), open_only=keep <= at)


def is_confirmed(one: Target) -> bool:
    """Whether all who read it have its newest credential."""
    journal, standing = one.journal, one.standing
    return journal is not None and journal.announced and standing is not None and standing.is_whole


def _goes_on(one: Target, journal: Journal) -> float:
    """When what is open can go on."""
    if journal.step is not Step.PUBLISHED:
        return journal.started_at
    if not is_confirmed(one):
        return journal.published_at + one.plan.within
    # At first the confirmation is noted, at once.
    return journal.confirmed_at + one.plan.lingers if journal.confirmed_at else journal.started_at
