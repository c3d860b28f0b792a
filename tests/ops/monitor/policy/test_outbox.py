"""Each channel delivers each notification once, whatever fails or is killed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy import outbox
from lessee.ops.monitor.policy.alerts import Alert, Notification, NotificationKind
from lessee.ops.monitor.policy.outbox import (
    BATCH_SIZE,
    MAX_PENDING,
    MAX_REJECTIONS,
    RESEND_INTERVAL,
    RETRY_BATCH_SIZE,
    Channel,
)
from support.models.alert_rules import NOON


def notification(number):
    return Notification(
        f"id-{number}", NotificationKind.FIRING, Alert("rule", str(number), "warning", "text", NOON, NOON, 1, NOON)
    )


def notifications(*numbers):
    return tuple(notification(number) for number in numbers)


def saved(channel):
    return outbox.mark_saved(channel, len(channel.pending))


def finish(channel, batch, now=NOON, error=None, *, rejected=False):
    return outbox.finish(channel, batch, now, error=error, draw=0.5, rejected=rejected)


def test_no_notification_is_sent_before_a_checkpoint_has_it():
    channel = outbox.put(Channel(), notifications(1, 2))
    assert outbox.begin(channel, NOON)[1] is None
    channel, batch = outbox.begin(outbox.mark_saved(channel, 1), NOON)
    assert batch == notifications(1)
    # One message at a time.
    assert outbox.begin(saved(channel), NOON)[1] is None
    channel = finish(channel, batch)
    assert (channel.delivered, channel.pending, channel.saved) == (1, notifications(2), 0)
    assert outbox.put(channel, []) is channel


def test_a_failed_delivery_is_retried_at_growing_intervals():
    channel, waits, now = saved(outbox.put(Channel(), notifications(1))), [], NOON
    for _ in range(12):
        channel, batch = outbox.begin(channel, now)
        channel = finish(channel, batch, now, error="away")
        assert outbox.begin(channel, channel.next_attempt_at - 0.1)[1] is None
        waits.append(channel.next_attempt_at - now)
        now = channel.next_attempt_at
    assert waits == sorted(waits)
    assert waits[-1] < RESEND_INTERVAL
    assert (channel.error, channel.failing_since, channel.pending) == ("away", NOON, notifications(1))
    channel, batch = outbox.begin(channel, now)
    channel = finish(channel, batch, now)
    assert (channel.error, channel.failing_since, channel.pending, channel.delivered) == (None, 0.0, (), 1)


def test_a_clock_set_back_delays_no_delivery():
    channel, batch = outbox.begin(saved(outbox.put(Channel(), notifications(1))), NOON)
    channel = finish(channel, batch, error="away")
    assert outbox.begin(channel, NOON - 86400)[1] == notifications(1)


def test_a_rejected_message_does_not_block_the_queue_forever():
    channel = saved(outbox.put(Channel(), notifications(*range(BATCH_SIZE + 1))))
    for attempt in range(MAX_REJECTIONS):
        channel, batch = outbox.begin(channel, NOON + 100 * attempt)
        # Perhaps the message is too long, so the next ones are shorter.
        assert len(batch) == (RETRY_BATCH_SIZE if attempt else BATCH_SIZE)
        channel = finish(channel, batch, NOON + 100 * attempt, error="answered 400", rejected=True)
    assert (channel.dropped, channel.delivered, len(channel.pending), channel.error) == (
        RETRY_BATCH_SIZE,
        0,
        BATCH_SIZE + 1 - RETRY_BATCH_SIZE,
        "answered 400",
    )
    rest = notifications(*range(RETRY_BATCH_SIZE, BATCH_SIZE + 1))
    assert outbox.begin(channel, NOON + 1000)[1] == rest


def test_the_queue_is_bounded_and_the_batch_in_flight_stays():
    channel = saved(outbox.put(Channel(), notifications(*range(MAX_PENDING))))
    channel, batch = outbox.begin(channel, NOON)
    channel = outbox.put(channel, notifications(*range(MAX_PENDING, MAX_PENDING + 50)))
    assert (len(channel.pending), channel.dropped, channel.pending[0]) == (MAX_PENDING, 50, notification(0))
    assert channel.saved == MAX_PENDING - 50
    channel = finish(channel, batch)
    assert channel.pending[0] == notification(BATCH_SIZE + 50)
    assert len(outbox.put(Channel(), notifications(*range(MAX_PENDING + 5))).pending) == MAX_PENDING


def test_the_full_state_is_sent_when_it_changes_and_every_minute():
    channel = Channel(takes_full_state=True)
    channel, batch = outbox.begin(channel, NOON)
    assert batch == ()
    channel = finish(channel, batch)
    assert outbox.begin(channel, NOON + RESEND_INTERVAL - 1)[1] is None
    changed = outbox.put(channel, notifications(1))
    assert (outbox.begin(changed, NOON + 1)[1], changed.pending) == ((), ())
    channel, batch = outbox.begin(channel, NOON + RESEND_INTERVAL)
    assert batch == ()
    channel = finish(channel, (), NOON + RESEND_INTERVAL, error="away")
    assert outbox.begin(channel, NOON + RESEND_INTERVAL)[1] is None
    assert outbox.begin(channel, channel.next_attempt_at)[1] == ()
    assert channel.delivered == 1


moves = st.lists(st.sampled_from(["put", "save", "begin", "well", "fails", "kill"]), max_size=80)


@given(moves)
def test_no_history_loses_or_duplicates_a_notification(history):
    channel, numbers, now = Channel(), 0, NOON
    state, sent, delivered, in_flight = outbox.to_state(channel), [], set(), None
    durable = 0
    for move in [*history, "save", *["begin", "well"] * 100]:
        now += 60.0
        match move:
            case "put":
                numbers += 1
                channel = outbox.put(channel, notifications(numbers))
            case "save":
                state, durable = json.loads(json.dumps(outbox.to_state(channel))), numbers
                channel = saved(channel)
            case "begin" if in_flight is None:
                channel, in_flight = outbox.begin(channel, now)
            case "well" | "fails" if in_flight is not None:
                if move == "well":
                    sent += [one.id for one in in_flight]
                    delivered |= {one.id for one in in_flight}
                channel = finish(channel, in_flight, now, error=None if move == "well" else "away")
                in_flight = None
            case "kill" if in_flight is None:
                channel = outbox.without(outbox.from_state(Channel(), state), delivered)
                numbers = durable
    assert len(sent) == len(set(sent)) == numbers
    assert sorted(sent, key=lambda one: int(one[3:])) == sent
