"""What is to be done next for one target of the service, and when."""

from lessee.core.record import replace
from lessee.core.rotation.journal import Step
from lessee.core.rotation.schedule import due_at, first_at, opening
from lessee.core.rotation.service import NEVER, Target

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
        waits = journal.step is Step.PUBLISHED and not is_confirmed(one)
        at = max(one.again_at, journal.published_at + one.plan.within if waits else journal.started_at)
        return replace(one, at=at, open_only=True)
    keep = max(one.again_at, journal.keep_until) if journal.step is Step.KEEPING else NEVER
    at = due(one)
    return replace(one, at=min(keep, at), open_only=keep <= at)


def is_confirmed(one: Target) -> bool:
    """Whether all who read it have its newest credential."""
    return one.standing is not None and one.standing.is_known and not one.standing.missing
