"""Which periods regular audit reports cover."""

from datetime import UTC, datetime

import pytest

from lessee.ops.audit.policy.schedule import MOST, Period, due, next_due, unfinished

DAY, WEEK = 86400.0, 7 * 86400.0


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-11-25T12:00:00")
"""A Wednesday."""


def test_the_first_report_is_of_the_last_whole_week_from_monday_to_monday():
    [period] = due(["notes.txt"], NOW, WEEK)
    assert period == Period(at("2026-11-16"), at("2026-11-23"))
    assert period.file_name("text") == "report-20261116T000000Z-20261123T000000Z.txt"
    assert next_due(NOW, WEEK) == at("2026-11-30")


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_written_report_is_not_due_again(form):
    [period] = due([], NOW, WEEK)
    assert due([period.file_name(form)], NOW, WEEK) == ()
    [following] = due([period.file_name(form)], NOW + WEEK, WEEK)
    assert following == Period(period.ends, period.ends + WEEK)


def test_missed_periods_are_made_up_for_without_a_gap_and_not_without_end():
    [period] = due([], NOW, DAY)
    names = [period.file_name("csv")]
    missed = due(names, NOW + 5 * DAY, DAY)
    assert len(missed) == 5
    assert [one.begins for one in missed] == [period.ends, *(one.ends for one in missed[:-1])]
    assert len(due(names, NOW + 1000 * DAY, DAY)) == MOST


def test_after_a_change_of_the_interval_no_moment_is_in_no_report():
    [period] = due([], NOW, DAY)
    [first, second] = due([period.file_name("text")], NOW + 2 * WEEK, WEEK)
    assert first == Period(period.ends, at("2026-11-30"))
    assert second == Period(at("2026-11-30"), at("2026-12-07"))


@pytest.mark.parametrize(
    "name",
    [
        "report-20270101T000000Z-20270102T000000Z.txt",
        "report-20261116T000000Z-20269999T000000Z.txt",
        ".report-20261116T000000Z-20261123T000000Z.txt.new",
        "report-20261116T000000Z-20261123T000000Z.pdf",
    ],
)
def test_other_files_and_reports_of_the_future_do_not_count(name):
    assert due([name], NOW, WEEK) == due([], NOW, WEEK)


def test_a_report_is_unfinished_while_its_sign_is_there():
    [period] = due([], NOW, WEEK)
    name = period.file_name("json")
    assert unfinished([name, f"{name}.unfinished", "other.unfinished"], "json") == (period,)
    assert unfinished([name, f"{name}.unfinished"], "csv") == ()
    assert unfinished([name], "json") == ()
