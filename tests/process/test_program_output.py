"""The last output of each program is in memory, of limited size."""

import sys
import threading

import pytest

from lessee.process import program_output
from lessee.process.program_output import hint, outputs_of, remember
from lessee.process.programs import run


def keep(owner, program, *lines):
    remember(owner, program, lines, result="exited with status 0", line_count=len(lines))


def test_the_last_output_of_each_program_replaces_the_one_before():
    keep("app", "check", "old")
    keep("app", "notify", "one", "two")
    keep("app", "check", "new")
    assert [(output.program, output.lines) for output in outputs_of("app")] == [
        ("notify", ("one", "two")),
        ("check", ("new",)),
    ]
    assert outputs_of("one without programs") == []


def test_the_memory_for_outputs_is_limited():
    for number in range(200):
        keep(f"app-{number}", "check", *["x" * 100] * 100)
    kept = [output for number in range(200) for output in outputs_of(f"app-{number}")]
    assert len(kept) == 48
    assert sum(len(line) for output in kept for line in output.lines) <= 48 * 4096
    assert kept[-1].line_count == 100
    keep("app", "check", "x" * 5000, "y")
    assert [output.lines for output in outputs_of("app")] == [()]


def test_the_repr_of_an_output_has_none_of_its_lines():
    keep("app", "check", "canary")
    assert "canary" not in repr(outputs_of("app"))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, ""),
        (1, "; `lessee status --output app` prints its output, 1 line"),
        (2, "; `lessee status --output app` prints its output, 2 lines"),
    ],
)
def test_an_error_says_where_the_output_is(monkeypatch, count, said):
    monkeypatch.setattr(program_output, "_served", threading.Event())
    assert hint("app", count) == ("; its output, " + said.rpartition(", ")[2] + ", is not logged" if count else "")
    program_output.mark_served()
    assert hint("app", count) == said


@pytest.mark.parametrize(
    ("script", "count"), [("", 0), ("print(1)", 1), ("print(1, end='')", 1), ("print('a\\nb')", 2)]
)
def test_the_lines_of_an_output_are_counted(script, count):
    assert run((sys.executable, "-c", script), timeout=60).line_count == count
