"""When the next drill is due."""

from datetime import UTC, datetime

from lessee.ops.drill.policy.schedule import next_due, report_name

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
MONTH = 30 * 86400.0


def test_without_a_report_a_drill_is_due_now():
    assert next_due(["notes.txt", "lessee-drill-a-20269999T000000Z.json"], "a", NOW, MONTH) == NOW


def test_the_newest_report_counts_and_one_of_the_future_does_not():
    names = [f"{report_name('production', at)}.json" for at in (NOW - 100, NOW - 10 * 86400, NOW + 86400)]
    assert next_due(names, "production", NOW, MONTH) == NOW - 100 + MONTH
    assert next_due(names[1:], "production", NOW, MONTH) == NOW - 10 * 86400 + MONTH


def test_a_report_of_another_environment_does_not_count():
    names = [f"{report_name(environment, NOW - 100)}.json" for environment in ("testing", "production-eu")]
    assert next_due(names, "production", NOW, MONTH) == NOW


def test_the_name_of_a_report_has_its_environment_and_time():
    assert report_name("production", NOW) == "lessee-drill-production-20261125T120000Z"
