"""The text about long work: what is done, the rate, and the time left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.progress import WINDOW, Meter, next_line_delay, spell


def test_the_time_left_follows_from_the_rate():
    meter = Meter("saving secrets", 100_000, "", 50.0)
    assert meter.describe(1_200, 52.0) == "saving secrets: 1,200 of 100,000 (1%), 600/s, 2m45s left"


def test_without_a_total_there_is_a_rate_and_no_time_left():
    meter = Meter("listing secrets", None, "", 0.0)
    assert meter.describe(9_000, 3.0) == "listing secrets: 9,000, 3,000/s, 3s elapsed"


def test_before_the_first_step_the_text_says_how_long_it_takes():
    assert Meter("starting a private server", None, "", 0.0).describe(0, 2.4) == "starting a private server, 2s elapsed"
    assert Meter("checks", 7, "", 0.0).describe(0, 9.0) == "checks: 0 of 7 (0%), 9s elapsed"


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (900, "900 B of 2.5 GB (0%), 450 B/s, 64d"),
        (1_500, "1.5 kB of 2.5 GB (0%), 750 B/s"),
        (20_000_000, "20.0 MB of 2.5 GB (0%), 10.0 MB/s, 4m08s left"),
        (1_234_000_000, "1.2 GB of 2.5 GB (49%), 617 MB/s, 2s left"),
    ],
)
def test_bytes_have_a_unit(done, text):
    found = Meter("storing", 2_500_000_000, "bytes", 0.0).describe(done, 2.0)
    assert found.startswith(f"storing: {text.removesuffix(', 64d')}")


def test_a_slow_rate_has_a_decimal_and_a_phase_that_is_done_no_time_left():
    meter = Meter("rotating", 3, "", 0.0)
    assert meter.describe(1, 4.0) == "rotating: 1 of 3 (33%), 0.2/s, 8s left"
    assert meter.describe(3, 6.0) == "rotating: 3 of 3 (100%), 0.5/s"
    assert meter.describe(4, 7.0) == "rotating: 4 of 3 (100%), 0.6/s"


def test_the_rate_is_the_recent_one():
    """The first minute was slow, as while a server started."""
    meter = Meter("saving", 1_000_000, "", 0.0)
    for second in range(61):
        meter.describe(second, float(second))
    for second in range(1, 41):
        text = meter.describe(60 + second * 1_000, 60.0 + second)
    assert ", 1,000/s, " in text


def test_work_that_stands_still_says_so_instead_of_a_time_left():
    meter = Meter("saving", 100, "", 0.0)
    meter.describe(50, 2.0)
    assert meter.describe(50, 6.0) == "saving: 50 of 100 (50%), 8.3/s, 6s left"
    assert meter.describe(50, 9.0) == "saving: 50 of 100 (50%), no progress for 7s"
    assert "left" in meter.describe(60, 10.0)


def test_a_meter_that_is_read_all_the_time_remembers_little():
    meter = Meter("saving", None, "", 0.0)
    for number in range(10_000):
        meter.describe(number, number / 100)
    assert len(meter._samples) < 2 * WINDOW / 0.5
    assert meter.describe(10_000, 100.0) == "saving: 10,000, 100/s, 1m40s elapsed"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (125, "2m05s"), (3600, "1h00m"), (100_000, "27h46m")],
)
def test_durations_are_short(seconds, text):
    assert spell(seconds) == text


def test_lines_that_stay_are_few():
    now, lines = 2.0, 1
    while now < 8 * 3600:
        now += next_line_delay(now)
        lines += 1
    assert 50 < lines < 100


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.floats(0, 1e5)), min_size=1, max_size=50),
    st.none() | st.integers(0, 10**12),
    st.sampled_from(["", "bytes"]),
)
def test_every_course_can_be_described(course, total, unit):
    meter, done, now = Meter("saving", total, unit, 0.0), 0, 0.0
    for more, later in course:
        done, now = done + more, now + later
        text = meter.describe(done, now)
        assert text.startswith("saving")
        assert text.isprintable()
