"""The next action for one target of the service, and its time."""

from lessee.core.immutable import replace
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.schedule import due_at, first_due_at, next_window
from lessee.ops.rotate.policy.service_state import NEVER, TargetState

FAILING_THRESHOLD = 3
"""Consecutive failures after which an operator must act."""


def is_failing(target: TargetState) -> bool:
    """Whether an operator must act."""
    return target.failures >= FAILING_THRESHOLD


def next_rotation_at(target: TargetState) -> float:
    """When the target's next rotation may start."""
    if target.journal is None or target.period_error:
        return NEVER
    schedule, last = target.settings.schedule, target.journal.rotated_at
    due = due_at(schedule, last, target.draw) if last else first_due_at(schedule, target.first_seen_at, target.draw)
    return next_window(schedule, max(due, target.next_retry_at))


def with_next_action(target: TargetState) -> TargetState:
    """The target with its next action."""
    journal = target.journal
    if journal is None:
        return target
    if journal.is_open:
        # An open rotation is finished outside windows too: two credentials are valid until then.
        next_action_at = max(target.next_retry_at, _continues_at(target, journal))
        return replace(target, next_action_at=next_action_at, finish_only=True)
    delete_at = max(target.next_retry_at, journal.delete_at) if journal.step is Step.RETAINING else NEVER
    rotate_at = NEVER if target.settings.manual else next_rotation_at(target)
    return replace(target, next_action_at=min(delete_at, rotate_at), finish_only=delete_at <= rotate_at)


def is_entry_due(target: TargetState, now: float) -> bool:
    """Whether an operator must enter a new credential."""
    journal = target.journal
    is_idle = journal is not None and not journal.is_open
    return target.settings.manual and is_idle and next_rotation_at(target) <= now


def is_confirmed(target: TargetState) -> bool:
    """Whether all consumers have confirmed the newest credential."""
    journal, confirmation = target.journal, target.confirmation
    if not target.settings.has_consumers:
        return True
    return journal is not None and journal.consumers_known and confirmation is not None and confirmation.is_complete


def _continues_at(target: TargetState, journal: Journal) -> float:
    """When an open rotation can continue."""
    if journal.step is not Step.PUBLISHED:
        return journal.started_at
    if not is_confirmed(target):
        return journal.published_at + target.settings.confirmation_timeout
    # The confirmation itself is recorded immediately.
    return journal.confirmed_at + target.settings.revoke_delay if journal.confirmed_at else journal.started_at
