"""The names, the retention and the schedule of archives."""

from datetime import UTC, datetime, timedelta, timezone
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.grammar.backup import Retention
from lessee.core.immutable import replace
from lessee.ops.backup.policy import archive_format as m
from lessee.ops.backup.policy.retention import (
    RETRY_DELAY,
    SealedArchive,
    archives_to_remove,
    name_of,
    newest_first,
    next_delay,
    parse_name,
    sealed_archive,
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


MANIFEST = m.Manifest(1, "lessee 1", "2026-03-04T13:00:00+01:00", "id", "main", "2", m.Counts(), (), "0" * 64, "team")


def test_a_seal_says_whose_archive_it_is_and_when_it_was_saved():
    found = sealed_archive("any.age", MANIFEST)
    expected = SealedArchive("any.age", NOON.replace(microsecond=0), ("id", "team"), ANY, "main", pinned=False)
    assert found == expected
    assert not found.original
    assert sealed_archive("lessee-main-id-team-20260304T120000Z.age", MANIFEST).original
    assert sealed_archive("any.age", replace(MANIFEST, pinned=True)).pinned


def test_an_archive_stays_the_same_when_it_is_pinned_or_sealed_with_another_key():
    identity = sealed_archive("any.age", MANIFEST).identity
    same = replace(MANIFEST, pinned=True, authenticated_by="age1another")
    assert sealed_archive("copy.age", same).identity == identity
    for other in ({"key": "1" * 64}, {"created": "2026-03-04T13:00:01+01:00"}, {"cluster_id": "other"}):
        assert sealed_archive("any.age", replace(MANIFEST, **other)).identity != identity


@pytest.mark.parametrize("created", ["", "yesterday", "2026-03-04T13:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_seal_without_a_time_is_none(created):
    assert sealed_archive("any.age", replace(MANIFEST, created=created)) is None


def archive(created, *, name=None, identity=None, pinned=False):
    name = name or str(name_of("a", "", "", created))
    return SealedArchive(name, created, ("", ""), identity or created.isoformat(), "a", pinned)


def removed(archives, **keep):
    keep = {"within": 0.0, "last": 1, "daily": 7, "weekly": 4} | keep
    return archives_to_remove(archives, Retention(**keep), now=NOW)


NOW = NOON.replace(microsecond=0)


def test_the_newest_by_the_time_in_the_seal_is_first_and_of_copies_the_original():
    copies = [archive(NOW, name=name) for name in ("zzz.age", None, "aaa.age")]
    older = archive(NOW - timedelta(days=1), name="lessee-a-20990101T000000Z.age")
    assert newest_first([older, *copies]) == [copies[1], copies[0], copies[2], older]


def test_seven_days_and_four_weeks_stay():
    archives = [archive(NOW - timedelta(hours=8 * n)) for n in range(3 * 60)]
    found = removed(archives)
    retained = [one.name for one in archives if one.name not in found]
    days = ["0304", "0303", "0302", "0301", "0228", "0227", "0226", "0222", "0215"]
    assert [name[-20:-16] for name in retained] == ["2026"] * 9
    assert [name[-16:-12] for name in retained] == days
    assert len(found) == len(set(found)) == len(archives) - 9
    assert list(found) == sorted(found)


def test_the_last_and_those_of_hours_stay():
    archives = [archive(NOW - timedelta(minutes=10 * n)) for n in range(30)]
    few = {"daily": 1, "weekly": 1}
    assert removed(archives, last=3, **few) == tuple(one.name for one in reversed(archives[3:]))
    retained = [one for one in archives if one.name not in removed(archives, hourly=3, **few)]
    assert [f"{one.created:%H:%M}" for one in retained] == ["12:00", "11:50", "10:50"]


def test_archives_younger_than_the_limit_stay():
    archives = [archive(NOW - timedelta(hours=hours)) for hours in (0, 1, 24, 25)]
    few = {"daily": 1, "weekly": 1}
    assert removed(archives, within=86400.0, **few) == (archives[3].name,)
    assert archives_to_remove(archives, Retention(daily=1, weekly=1), now=NOW) == (archives[3].name,)
    assert len(removed(archives, **few)) == 3


def test_a_pinned_archive_stays_and_its_copies_too():
    old = NOW - timedelta(days=999)
    pinned = [archive(old, pinned=True), archive(old, name="copy.age", pinned=True)]
    others = [archive(old - timedelta(days=1)), archive(NOW)]
    assert removed([*pinned, *others], weekly=1, daily=1) == (others[0].name,)


def test_the_archive_before_it_was_pinned_counts_with_the_pinned_one():
    """An attacker adds the unpinned archive again: it must neither remove the pinned one nor displace another."""
    old, today = NOW - timedelta(days=300), archive(NOW)
    pinned, before = archive(old, identity="a", pinned=True), archive(old, name="before.age", identity="a")
    yesterday = archive(NOW - timedelta(days=1))
    assert removed([pinned, before, today, yesterday], daily=1, weekly=1) == (yesterday.name,)
    assert removed([replace(pinned, pinned=False), before, today], last=2, daily=1, weekly=1) == ()


def test_copies_count_as_one_archive():
    """An attacker adds an archive of today again and again, to displace those of yesterday."""
    today, yesterday = archive(NOW), archive(NOW - timedelta(days=1))
    copies = [replace(today, name=f"{number}.age") for number in range(50)]
    assert removed([today, *copies, yesterday], last=2, hourly=2, daily=1, weekly=1) == ()
    old = NOW - timedelta(days=300)
    again = [archive(old, name=f"{number}.age") for number in range(3)]
    assert set(removed([today, *again], daily=1, weekly=1)) == {one.name for one in again}


@pytest.mark.no_cover
@given(st.sets(moments, min_size=1), st.integers(1, 9), st.integers(1, 9))
def test_the_newest_stays_and_a_second_run_removes_nothing(found, daily, weekly):
    archives = {str(archive(moment).name): archive(moment) for moment in found}
    keep, now = Retention(within=0.0, last=1, daily=daily, weekly=weekly), max(found)
    gone = archives_to_remove(archives.values(), keep, now=now)
    retained = [one for name, one in archives.items() if name not in gone]
    assert archive(now) in retained
    assert len(retained) <= daily + weekly
    assert len({one.created.date() for one in retained}) >= min(daily, len({moment.date() for moment in found}))
    assert archives_to_remove(retained, keep, now=now) == ()


def test_archives_of_a_clock_that_was_ahead_stay_and_displace_nothing():
    ahead = [archive(NOW + timedelta(days=days, hours=1)) for days in range(60)]
    own = [archive(NOW - timedelta(days=days)) for days in range(7)]
    assert removed([*ahead, *own]) == ()


def test_the_interval_counts_from_the_start_of_the_last_backup():
    assert next_delay(100, 130, 3600, failed=False) == 3570
    assert next_delay(100, 4000, 3600, failed=False) == 0
    assert next_delay(100, 130, 3600, failed=True) == RETRY_DELAY
    assert next_delay(100, 130, 60, failed=True) == 60
