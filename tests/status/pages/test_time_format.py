"""Timestamps, durations and texts are formatted for display."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.status.pages.time_format import count, duration, printable, relative_time

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (3659, "1 h"),
        (11520, "3 h 12 min"),
        (86400, "1 d"),
        (86400 * 5 + 3 * 3600, "5 d 3 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("timestamp", "words"),
    [
        ("2026-09-21T14:13:20.000+00:00", "just now"),
        ("2026-09-21T14:13:08.000+00:00", "12 s ago"),
        ("2026-09-21T14:18:20.000+00:00", "in 5 min"),
        ("2026-09-21T16:13:08.000+02:00", "12 s ago"),
    ],
)
def test_a_time_is_relative_to_now(timestamp, words):
    assert relative_time(timestamp, NOW) == words


def test_counts_have_the_right_number():
    assert [count(1, "app"), count(2, "app"), count(0, "entry", "entries"), count(1200, "line")] == [
        "1 app", "2 apps", "0 entries", "1,200 lines",
    ]  # fmt: skip


@given(st.text())
def test_any_text_becomes_one_printable_line(text):
    line = printable(text)
    assert line.isprintable()
    assert len(line) <= 600 * 6 + 1


def test_control_characters_are_escaped_and_long_texts_truncated():
    assert printable("a\x1b[31m\u202eb\nc") == "a\\u001b[31m\\u202eb c"
    assert printable("x" * 1000) == "x" * 600 + "…"
    assert printable(7) == "7"
