"""The names, the retention and the schedule of archives."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.backup.policy.retention import (
    RETRY_DELAY,
    Name,
    archives_to_remove,
    latest_name,
    name_of,
    next_delay,
    parse_name,
)

NOON = datetime(2026, 3, 4, 12, 0, 0, 99, tzinfo=UTC)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)).map(lambda m: m.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001  # `map` sets it.


def test_a_name_contains_the_cluster_and_the_utc_time():
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    name = name_of("main", "1234567890", "", east)
    assert str(name) == "lessee-main-12345678-20260304T120000Z.age"
    assert parse_name(str(name)) == name


def test_a_cluster_name_cannot_lead_to_another_directory():
    assert str(name_of("../a b", "../x", "", NOON)) == "lessee-.._a_b-.._x-20260304T120000Z.age"
    assert str(name_of("", "", "", NOON)) == "lessee-cluster-20260304T120000Z.age"
    assert str(name_of("main", "12345678-9", "team/a", NOON)) == "lessee-main-12345678-team-a-20260304T120000Z.age"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "notes.txt",
        "lessee-a-20261301T000000Z.age",
        "lessee-a-20260101T000000Z.age.bak",
        "x/lessee-a-20260101T000000Z.age",
    ],
)
def test_other_names_are_not_parsed(text):
    assert parse_name(text) is None


def test_latest_is_the_newest_of_any_cluster():
    assert latest_name(["notes.txt"]) is None
    names = ["lessee-b-20260101T000000Z.age", "lessee-a-20260102T000000Z.age", "zzz.age"]
    assert latest_name(names) == names[1]


def test_seven_days_and_four_weeks_stay():
    new = Name(NOON.replace(microsecond=0), "a")
    names = [str(Name(new.moment - timedelta(hours=8 * n), "a")) for n in range(3 * 60)]
    removed = archives_to_remove([*names, "notes.txt", "lessee-b-20200101T000000Z.age"], new, daily=7, weekly=4)
    retained = [name for name in names if name not in removed]
    days = ["0304", "0303", "0302", "0301", "0228", "0227", "0226", "0222", "0215"]
    assert [name[-20:-16] for name in retained] == ["2026"] * 9
    assert [name[-16:-12] for name in retained] == days
    assert len(removed) == len(set(removed)) == len(names) - 9
    assert list(removed) == sorted(removed)


@given(st.sets(moments, min_size=1), st.integers(1, 9), st.integers(1, 9))
def test_the_newest_stays_and_a_second_run_removes_nothing(found, daily, weekly):
    names = [str(Name(moment, "a")) for moment in found]
    new = Name(max(found), "a")
    removed = archives_to_remove(names, new, daily=daily, weekly=weekly)
    retained = set(names) - set(removed)
    assert str(new) in retained
    assert len(retained) <= daily + weekly
    assert len({name[-20:-12] for name in retained}) >= min(daily, len({moment.date() for moment in found}))
    assert archives_to_remove(retained, new, daily=daily, weekly=weekly) == ()


def test_the_new_archive_stays_even_if_the_clock_was_ahead_before():
    ahead = [str(Name(NOON.replace(microsecond=0) + timedelta(days=n, hours=1), "a")) for n in range(60)]
    new = Name(NOON.replace(microsecond=0), "a")
    assert str(new) not in archives_to_remove([*ahead, str(new)], new, daily=7, weekly=4)
    assert ahead[-1] not in archives_to_remove([*ahead, str(new)], new, daily=1, weekly=1)


def test_the_interval_counts_from_the_start_of_the_last_backup():
    assert next_delay(100, 130, 3600, failed=False) == 3570
    assert next_delay(100, 4000, 3600, failed=False) == 0
    assert next_delay(100, 130, 3600, failed=True) == RETRY_DELAY
    assert next_delay(100, 130, 60, failed=True) == 60
