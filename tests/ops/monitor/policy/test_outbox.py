"""What is to be told is told once over each way, however often that fails or is cut short."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy import outbox
from lessee.ops.monitor.policy.alerts import Alert, Telling, What
from lessee.ops.monitor.policy.outbox import AT_ONCE, EVERY, MOST, UNFIT, Way
from support.models.alert_rules import NOON


def telling(number):
    return Telling(f"id-{number}", What.FIRING, Alert("rule", str(number), "warning", "text", NOON, NOON, 1, NOON))


def tellings(*numbers):
    return tuple(telling(number) for number in numbers)


def saved(way):
    return outbox.was_saved(way, len(way.waiting))


def ended(way, batch, now=NOON, error=None, *, unfit=False):
    return outbox.ended(way, batch, now, error=error, draw=0.5, unfit=unfit)


def test_nothing_goes_out_that_a_kill_could_still_make_forgotten():
    way = outbox.put(Way(), tellings(1, 2))
    assert outbox.begin(way, NOON)[1] is None
    way, batch = outbox.begin(outbox.was_saved(way, 1), NOON)
    assert batch == tellings(1)
    # One message at a time.
    assert outbox.begin(saved(way), NOON)[1] is None
    way = ended(way, batch)
    assert (way.told, way.waiting, way.saved) == (1, tellings(2), 0)
    assert outbox.put(way, []) is way


def test_what_fails_is_tried_again_later_and_later():
    way, waits, now = saved(outbox.put(Way(), tellings(1))), [], NOON
    for _ in range(12):
        way, batch = outbox.begin(way, now)
        way = ended(way, batch, now, error="away")
        assert outbox.begin(way, way.next_at - 0.1)[1] is None
        waits.append(way.next_at - now)
        now = way.next_at
    assert waits == sorted(waits)
    assert waits[-1] < EVERY
    assert (way.error, way.failing_since, way.waiting) == ("away", NOON, tellings(1))
    way, batch = outbox.begin(way, now)
    way = ended(way, batch, now)
    assert (way.error, way.failing_since, way.waiting, way.told) == (None, 0.0, (), 1)


def test_a_clock_that_is_set_back_puts_nothing_off():
    way, batch = outbox.begin(saved(outbox.put(Way(), tellings(1))), NOON)
    way = ended(way, batch, error="away")
    assert outbox.begin(way, NOON - 86400)[1] == tellings(1)


def test_what_is_refused_for_what_it_is_does_not_stand_in_the_way_for_ever():
    way = saved(outbox.put(Way(), tellings(*range(AT_ONCE + 1))))
    for attempt in range(UNFIT):
        way, batch = outbox.begin(way, NOON + 100 * attempt)
        assert len(batch) == AT_ONCE
        way = ended(way, batch, NOON + 100 * attempt, error="answered 400", unfit=True)
    assert (way.lost, way.told, len(way.waiting), way.error) == (AT_ONCE, 0, 1, "answered 400")
    assert outbox.begin(way, NOON + 1000)[1] == tellings(AT_ONCE)


def test_what_waits_is_bounded_and_what_is_under_way_stays():
    way = saved(outbox.put(Way(), tellings(*range(MOST))))
    way, batch = outbox.begin(way, NOON)
    way = outbox.put(way, tellings(*range(MOST, MOST + 50)))
    assert (len(way.waiting), way.lost, way.waiting[0]) == (MOST, 50, telling(0))
    assert way.saved == MOST - 50
    way = ended(way, batch)
    assert way.waiting[0] == telling(AT_ONCE + 50)
    assert len(outbox.put(Way(), tellings(*range(MOST + 5))).waiting) == MOST


def test_the_whole_state_is_told_at_once_when_it_changes_and_again_each_minute():
    way = Way(whole=True)
    way, batch = outbox.begin(way, NOON)
    assert batch == ()
    way = ended(way, batch)
    assert outbox.begin(way, NOON + EVERY - 1)[1] is None
    changed = outbox.put(way, tellings(1))
    assert (outbox.begin(changed, NOON + 1)[1], changed.waiting) == ((), ())
    way, batch = outbox.begin(way, NOON + EVERY)
    assert batch == ()
    way = ended(way, (), NOON + EVERY, error="away")
    assert outbox.begin(way, NOON + EVERY)[1] is None
    assert outbox.begin(way, way.next_at)[1] == ()
    assert way.told == 1


moves = st.lists(st.sampled_from(["put", "save", "begin", "well", "fails", "kill"]), max_size=80)


@given(moves)
def test_of_any_history_nothing_is_lost_and_nothing_is_told_twice(history):
    way, numbers, now = Way(), 0, NOON
    kept, sent, told, under_way = outbox.kept(way), [], set(), None
    durable = 0
    for move in [*history, "save", *["begin", "well"] * 100]:
        now += 60.0
        match move:
            case "put":
                numbers += 1
                way = outbox.put(way, tellings(numbers))
            case "save":
                kept, durable = json.loads(json.dumps(outbox.kept(way))), numbers
                way = saved(way)
            case "begin" if under_way is None:
                way, under_way = outbox.begin(way, now)
            case "well" | "fails" if under_way is not None:
                if move == "well":
                    sent += [one.id for one in under_way]
                    told |= {one.id for one in under_way}
                way = ended(way, under_way, now, error=None if move == "well" else "away")
                under_way = None
            case "kill" if under_way is None:
                way = outbox.without(outbox.restored(Way(), kept), told)
                numbers = durable
    assert len(sent) == len(set(sent)) == numbers
    assert sorted(sent, key=lambda one: int(one[3:])) == sent
