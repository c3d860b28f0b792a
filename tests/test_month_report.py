"""What `make month` finds in what it lived, on an idle and on a busy machine."""

import pytest

from support.models.month_report import Chronicle, Event, Notice, Typed, with_table
from support.programs.pulse import WORK, worked

DAY = 10.0


def lived(*, speed=1.0):
    lines = []
    chronicle = Chronicle(DAY, lambda begin, end: (end - begin) * speed, lines.append)
    return chronicle, lines


def happened(chronicle, *notices, rules=(), at=100.0):
    event = chronicle.begin(Event(3, at, "Vault is killed", rules))
    event.notices += notices
    chronicle.settle(event, at + 5)
    return event


def findings(chronicle, **settings):
    chronicle.close(**{"bounded": True} | settings)
    return [kind for kind, _ in chronicle.findings]


def test_each_day_and_event_is_printed_as_it_is_lived():
    chronicle, lines = lived()
    chronicle.begin_day(3)
    happened(chronicle, Notice("agent", "its status", 2.5), Notice("monitor", "an alert", None))
    chronicle.finding("broken", "a command")
    assert [line.strip() for line in lines] == [
        "day  3",
        "Vault is killed",
        "agent   6.0 h, monitor never; all is well after 12.0 h",
        "broken: a command",
    ]


def test_an_event_that_nothing_reports_is_silent():
    chronicle, _ = lived()
    happened(chronicle)
    happened(chronicle, Notice("monitor", "an alert", None))
    assert findings(chronicle) == ["silent", "silent"]


@pytest.mark.parametrize(("speed", "found"), [(1.0, ["late"]), (0.5, [])])
def test_a_report_is_late_after_a_day_of_an_idle_machine(speed, found):
    chronicle, _ = lived(speed=speed)
    happened(chronicle, Notice("monitor", "an alert", DAY + 1), Notice("setup", "its answer", DAY + 1, is_answer=True))
    assert findings(chronicle) == found


@pytest.mark.parametrize(
    ("rule", "at", "speed", "found"),
    [
        ("audit-off", 101.0, 1.0, []),
        ("audit-off", 99.5, 1.0, []),
        ("audit-off", 300.0, 1.0, ["unexplained"]),
        ("audit-off", 300.0, 0.5, []),
        ("reads", 101.0, 1.0, ["unexplained"]),
        ("reads", 101.0, 0.5, ["unexplained"]),
    ],
)
def test_an_alert_needs_a_cause_except_for_one_about_time_on_a_busy_machine(rule, at, speed, found):
    chronicle, _ = lived(speed=speed)
    happened(chronicle, Notice("agent", "its status", 1.0), rules=("audit-off",))
    chronicle.take_alert(rule, "vault", "no entry", at)
    assert findings(chronicle) == found
    assert chronicle.facts == [("alerts that tell how busy the machine was", int(at == 300.0 and not found))]


def test_what_a_person_types_has_a_reason():
    chronicle, _ = lived()
    chronicle.typed += [Typed(0, "a person", "lessee setup", 0, ""), Typed(0, "a timer", "lessee audit verify", 0, "")]
    assert findings(chronicle) == ["manual"]


def test_the_table_has_no_time_and_replaces_the_one_of_a_page():
    chronicle, _ = lived()
    happened(chronicle, Notice("agent", "its status", 1.0), Notice("monitor", "an alert", 2.0))
    chronicle.typed += [Typed(day, "each day", "lessee validate", 0, "") for day in range(3)]
    table = chronicle.table()
    assert table.splitlines()[2:] == [
        "| each day | `lessee validate` | its exit code |",
        "| 3 | Vault is killed | agent: its status; monitor: an alert |",
    ]
    page = "# A page\n\n| day | event | what reports it |\n|---:|---|---|\n| 1 | old | old |\n\nThe end.\n"
    assert with_table(page, table) == f"# A page\n\n{table}\n\nThe end.\n"
    assert with_table(with_table(page, table), table) == with_table(page, table)


def test_time_counts_for_less_while_the_machine_is_busy():
    assert worked([], 0.0, 10.0) == 10.0
    beats = [(0.0, WORK), (4.0, 4.0 + 2 * WORK), (8.0, 8.0 + WORK)]
    assert worked(beats, 0.0, 10.0) == pytest.approx(4 + 2 + 2)
    assert worked(beats, 5.0, 7.0) == pytest.approx(1.0)
    assert worked(beats, 0.0, 4.0) == pytest.approx(4.0)
