"""When a target is due."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.grammar.rotation import VaultValues
from lessee.config.time_windows import DAY, HOUR, WEEK, spans
from lessee.ops.rotate.policy.journal import Journal
from lessee.ops.rotate.policy.schedule import (
    Schedule,
    due_at,
    first_due_at,
    next_window,
    period_error,
    period_warning,
    retry_delay,
    schedule_of,
)

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TIMES = st.sampled_from(["00:00", "02:30", "04:00", "22:00", "23:59", "24:00"])
DRAWS = st.floats(0.0, 1.0, exclude_max=True)
MOMENTS = st.floats(0.0, 4e9).map(round).map(float)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def weekday_time(moment):
    return datetime.fromtimestamp(moment, UTC).strftime("%a %H:%M").lower()


@pytest.mark.parametrize(
    ("window", "moment", "opens"),
    [
        ("02:00-04:00", "2026-03-03T01:00", "tue 02:00"),
        ("02:00-04:00", "2026-03-03T02:00", "tue 02:00"),
        ("02:00-04:00", "2026-03-03T03:59", "tue 03:59"),
        ("02:00-04:00", "2026-03-03T04:00", "wed 02:00"),
        ("sat,sun 00:00-06:00", "2026-03-03T01:00", "sat 00:00"),
        ("sat,sun 00:00-06:00", "2026-03-07T06:00", "sun 00:00"),
        ("sat,sun 00:00-06:00", "2026-03-08T06:00", "sat 00:00"),
        ("mon-fri 22:00-02:00", "2026-03-07T01:59", "sat 01:59"),
        ("mon-fri 22:00-02:00", "2026-03-07T02:00", "mon 22:00"),
        ("sun 22:00-02:00", "2026-03-09T01:00", "mon 01:00"),
        ("fri-mon 10:00-11:00", "2026-03-10T00:00", "fri 10:00"),
        ("fri-mon 10:00-11:00", "2026-03-09T00:00", "mon 10:00"),
        ("mon,wed-thu 10:00-11:00", "2026-03-10T00:00", "wed 10:00"),
        ("mon-wed-fri  10:00-11:00", "2026-03-12T00:00", "thu 10:00"),
        ("wed 00:00-24:00", "2026-03-03T23:59", "wed 00:00"),
        ("wed 24:00-01:00", "2026-03-04T12:00", "thu 00:00"),
    ],
)
def test_a_window_opens_at_its_time(window, moment, opens):
    assert weekday_time(next_window(Schedule(1.0, windows=spans([window])), at(moment))) == opens


@pytest.mark.no_cover
@given(days=st.sets(st.sampled_from(DAYS), min_size=1), begins=TIMES, ends=TIMES, moment=MOMENTS, part=DRAWS)
def test_the_next_window_is_the_first_time_in_a_window(days, begins, ends, moment, part):
    schedule = Schedule(1.0, windows=spans([f"{','.join(days)} {begins}-{ends}"]))

    def is_open(when):
        when = datetime.fromtimestamp(when, UTC)
        minute = when.hour * 60 + when.minute
        first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (begins, ends))
        last = first + ((last - first) % 1440 or 1440)
        return any(
            first <= minute + 1440 * back < last and DAYS[(when.weekday() - back) % 7] in days for back in range(3)
        )

    opens = next_window(schedule, moment)
    assert moment <= opens < moment + WEEK
    assert is_open(opens)
    for tried in (moment, moment + (opens - moment) * part // 1, opens - 1.0):
        assert not moment <= tried < opens or not is_open(tried)


def test_without_windows_any_time_is_allowed():
    assert next_window(Schedule(1.0), 7.0) == 7.0
    assert next_window(Schedule(1.0, windows=spans(["02:00-04:00"])), float("inf")) == float("inf")


@given(last=MOMENTS, draw=DRAWS)
def test_the_next_rotation_is_due_after_its_period_and_jitter(last, draw):
    assert due_at(Schedule(DAY, HOUR), last, draw) == last + DAY + HOUR * draw


@given(last=MOMENTS, draw=DRAWS, jitter=st.sampled_from([0.0, 60.0, HOUR, DAY]))
def test_a_due_time_lies_in_a_window_and_within_the_jitter(last, draw, jitter):
    schedule = Schedule(DAY, jitter, spans(["02:00-04:00"]))
    due = due_at(schedule, last, draw)
    assert next_window(schedule, due) == due
    assert last + DAY - min(jitter, DAY / 2) <= due <= next_window(schedule, last + DAY) + jitter


@pytest.mark.no_cover
@given(draws=st.lists(DRAWS, min_size=50, max_size=50))
def test_a_nightly_rotation_skips_no_night(draws):
    schedule, last = Schedule(DAY, HOUR, spans(["02:00-04:00"])), at("2026-03-03T03:00")
    for draw in draws:
        # It is published somewhat later than it begins, also after the window's end.
        due = due_at(schedule, last, draw) + 20.0
        assert due // DAY == last // DAY + 1
        last = due


def test_a_target_without_a_period_is_never_due():
    schedule = Schedule(None, 0.0)
    assert due_at(schedule, 1.0, 0.5) == first_due_at(schedule, 1.0, 0.5) == float("inf")
    assert period_error(schedule, Journal(propagation_times=(9.0,) * 3)) == ""


@given(seen=MOMENTS, draw=DRAWS)
def test_the_first_rotation_is_due_within_a_minute_or_in_the_next_window(seen, draw):
    assert seen <= first_due_at(Schedule(DAY, HOUR), seen, draw) <= seen + 60.0
    assert seen <= first_due_at(Schedule(DAY, 10.0), seen, draw) <= seen + 10.0
    windows = Schedule(DAY, HOUR, spans(["02:00-04:00"]))
    assert next_window(windows, seen) <= first_due_at(windows, seen, draw) <= next_window(windows, seen + 60.0)


@given(failures=st.integers(0, 10**6), draw=DRAWS)
def test_the_retry_delay_doubles_up_to_an_hour(failures, draw):
    bound = min(HOUR, 60.0 * 2 ** min(max(0, failures - 1), 20))
    assert bound / 2 <= retry_delay(Schedule(30 * DAY), failures, draw) <= bound
    assert retry_delay(Schedule(None), failures, draw) <= HOUR
    assert retry_delay(Schedule(600.0), failures, draw) <= 60.0
    assert retry_delay(Schedule(10.0), failures, draw) <= 1.0


@pytest.mark.parametrize(
    ("every", "jitter", "expected"),
    [("1d", None, HOUR), ("1h", None, 360.0), ("1h", 5.0, 5.0), ("1h", 0.0, 0.0), (None, None, 0.0)],
)
def test_the_default_jitter_is_a_tenth_of_the_period_and_at_most_an_hour(every, jitter, expected):
    seconds = {"1d": DAY, "1h": HOUR, None: None}[every]
    config = VaultValues(secret="app/one", rotation_period=seconds, jitter=jitter, rotation_windows=("02:00-04:00",))
    assert schedule_of(config) == Schedule(seconds, expected, spans(["02:00-04:00"]))


def test_a_period_shorter_than_the_last_propagation_times_is_an_error():
    schedule = Schedule(90.0)
    assert period_error(schedule, Journal()) == ""
    assert period_error(schedule, Journal(propagation_times=(95.0, 90.0, 91.0))) == ""
    text = period_error(schedule, Journal(propagation_times=(1.0, 95.0, 91.26, 92.0)))
    assert "at least 91.3 s" in text
    assert "90s" in text


@given(st.lists(st.floats(0.0, 80.0), max_size=10), st.floats(100.0, 1e6), st.integers(0, 10))
def test_a_consumer_that_was_away_once_is_no_slow_consumer(usual, absence, position):
    times = (*usual[:position], absence, *usual[position:])
    assert period_error(Schedule(90.0), Journal(propagation_times=times)) == ""


def test_a_period_shorter_than_the_confirmation_timeout_is_worth_a_warning():
    def warning(period):
        return period_warning(VaultValues(secret="app/one", rotation_period=period, confirmation_timeout=300.0))

    assert warning(None) == warning(300.0) == ""
    assert warning(299.0) == (
        "`rotation_period` (299s) is shorter than `confirmation_timeout` (5m): "
        "while a consumer is away, the next rotation is late"
    )
