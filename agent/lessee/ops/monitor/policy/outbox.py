"""The queue of notifications of one channel. No failure or restart loses a notification, and the queue is bounded.

A channel that takes single notifications (webhook, mail) has a queue. A channel that takes the full state
(Alertmanager) gets it again every minute.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from lessee.core.backoff import delay
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.monitor.policy.alerts import Notification

MAX_PENDING = 1000
"""Notifications that wait in one channel. More drop the oldest, which are counted."""
BATCH_SIZE = 200
"""Notifications in one message."""
RETRY_BATCH_SIZE = 20
"""Notifications in one message after a failure: a receiver may reject a long one, and fewer are dropped then."""
MAX_REJECTIONS = 5
"""Attempts for a message that the receiver rejects. Then it is dropped and counted."""
RESEND_INTERVAL = 60.0
"""Seconds after which a channel that takes the full state gets it again."""


class Channel(ImmutableStruct, frozen=True):
    """The delivery state of one channel. Moments are in seconds since 1970."""

    takes_full_state: bool = False
    pending: tuple[Notification, ...] = ()
    saved: int = 0
    """How many of the pending ones are in the checkpoint. Only these may be sent."""
    delivered: int = 0
    dropped: int = 0
    attempts: int = 0
    failing_since: float = 0.0
    next_attempt_at: float = 0.0
    error: str | None = None
    in_flight: bool = False
    state_changed: bool = False
    """Whether an alert has changed since the full state was sent."""


def put(channel: Channel, notifications: Iterable[Notification]) -> Channel:
    """Queue notifications."""
    notifications = tuple(notifications)
    if not notifications:
        return channel
    if channel.takes_full_state:
        return replace(channel, state_changed=True)
    pending = (*channel.pending, *notifications)
    excess = max(0, len(pending) - MAX_PENDING)
    # The batch in flight stays in front, so that its result can be applied.
    first = BATCH_SIZE if channel.in_flight else 0
    return replace(
        channel,
        pending=(*pending[:first], *pending[first + excess :]),
        dropped=channel.dropped + excess,
        saved=max(min(channel.saved, first), channel.saved - excess),
    )


def mark_saved(channel: Channel, count: int) -> Channel:
    """The checkpoint holds the first `count` pending notifications."""
    return replace(channel, saved=min(count, len(channel.pending)))


def begin(channel: Channel, now: float) -> tuple[Channel, tuple[Notification, ...] | None]:
    """The batch to send now, or None. An empty batch means the full state."""
    if channel.in_flight or (channel.attempts and now < channel.next_attempt_at <= now + RESEND_INTERVAL * 2):
        return channel, None
    if channel.takes_full_state:
        due = channel.state_changed or not now < channel.next_attempt_at <= now + RESEND_INTERVAL * 2
        return (replace(channel, in_flight=True, state_changed=False), ()) if due else (channel, None)
    batch = channel.pending[: min(channel.saved, RETRY_BATCH_SIZE if channel.attempts else BATCH_SIZE)]
    return (replace(channel, in_flight=True), batch) if batch else (channel, None)


def finish(
    channel: Channel,
    batch: Sequence[Notification],
    now: float,
    *,
    error: str | None,
    draw: float,
    rejected: bool = False,
) -> Channel:
    """Apply the result of a batch. `draw` is in [0, 1). `rejected`: the receiver does not accept this message."""
    channel = replace(channel, in_flight=False)
    if rejected and batch and channel.attempts + 1 >= MAX_REJECTIONS:
        # A message that the receiver never accepts must not block those after it.
        rest = without(channel, {notification.id for notification in batch})
        return replace(
            rest,
            delivered=channel.delivered,
            dropped=channel.dropped + len(batch),
            attempts=0,
            failing_since=0.0,
            error=error,
        )
    if error is not None:
        since, attempts = channel.failing_since or now, channel.attempts + 1
        return replace(
            channel,
            attempts=attempts,
            failing_since=since,
            next_attempt_at=now + delay(attempts, draw, duration=now - since),
            error=error,
            state_changed=channel.takes_full_state,
        )
    next_attempt_at = now + RESEND_INTERVAL if channel.takes_full_state else 0.0
    channel = replace(channel, attempts=0, failing_since=0.0, error=None, next_attempt_at=next_attempt_at)
    if batch:
        return without(channel, {notification.id for notification in batch})
    return replace(channel, delivered=channel.delivered + 1)


def without(channel: Channel, delivered: Collection[str]) -> Channel:
    """Remove notifications that were delivered, by id."""
    rest = tuple(notification for notification in channel.pending if notification.id not in delivered)
    count = len(channel.pending) - len(rest)
    return replace(channel, pending=rest, delivered=channel.delivered + count, saved=max(0, channel.saved - count))


def to_state(channel: Channel) -> Any:
    """The part of a channel that a checkpoint holds, as JSON."""
    pending = msgspec.to_builtins(channel.pending)
    return {"pending": pending, "delivered": channel.delivered, "dropped": channel.dropped}


def from_state(channel: Channel, state: Any) -> Channel:
    """The channel with the state of a checkpoint."""
    pending = msgspec.convert(state["pending"], tuple[Notification, ...])
    return replace(
        channel,
        pending=pending,
        saved=len(pending),
        delivered=state["delivered"],
        dropped=state["dropped"],
    )
