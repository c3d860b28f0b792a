"""The report says which components were not looked at, and why."""

import pytest

from lessee.core.severity import Level
from lessee.ops.validate.policy.coverage import CHECK, require, unseen_components, unseen_line
from lessee.ops.validate.policy.results import Reporter, Result, Skip

A, B, C = Reporter("a"), Reporter("b"), Reporter("c")
PASSED = A.passed("x", "good")
UNCONFIGURED = B.skipped("x", "nothing names it", Skip.NOT_CONFIGURED)
IMPOSSIBLE = C.skipped("x", "Vault is unavailable")


def test_a_component_with_a_result_was_looked_at():
    assert list(unseen_components([PASSED, A.skipped("y", "no")])) == []
    assert list(unseen_components([A.critical("x", "bad", "do it"), A.skipped("y", "no")])) == []


def test_a_component_is_not_configured_where_no_check_has_another_reason():
    assert list(unseen_components([UNCONFIGURED])) == [("b", Skip.NOT_CONFIGURED, "nothing names it")]
    mixed = [UNCONFIGURED, B.skipped("y", "denied")]
    assert list(unseen_components(mixed)) == [("b", Skip.IMPOSSIBLE, "denied")]


def test_a_skipped_check_without_a_reason_was_not_possible():
    result = Result("d", "x", Level.INFO, passed=None, text="unknown")
    assert list(unseen_components([result])) == [("d", Skip.IMPOSSIBLE, "unknown")]


@pytest.mark.parametrize(
    ("results", "line"),
    [
        ([PASSED], "LOOKED AT: the component"),
        ([PASSED, B.passed("x", "good")], "LOOKED AT: all 2 components"),
        ([PASSED, A.skipped("y", "2 of 6", Skip.INCOMPLETE)], "LOOKED AT: the component; only in part: a"),
        ([PASSED, UNCONFIGURED], "NOT LOOKED AT: b (not configured)"),
        (
            [PASSED, A.skipped("y", "2 of 6", Skip.INCOMPLETE), B.skipped("x", "none of 6", Skip.INCOMPLETE)],
            "LOOKED AT: all 2 components; only in part: a, b",
        ),
        (
            [A.skipped("y", "denied"), A.skipped("x", "2 of 6", Skip.INCOMPLETE), IMPOSSIBLE],
            "NOT LOOKED AT: c (could not be looked at: Vault is unavailable); only in part: a",
        ),
        (
            [UNCONFIGURED, IMPOSSIBLE, Reporter("d").skipped("x", "no", Skip.NOT_CONFIGURED)],
            "NOT LOOKED AT: b, d (not configured); c (could not be looked at: Vault is unavailable)",
        ),
    ],
)
def test_the_first_line_of_the_summary_names_them_with_the_reason(results, line):
    assert unseen_line(results) == line


def test_an_expected_component_that_was_not_looked_at_is_a_failure():
    found = require([PASSED, UNCONFIGURED, IMPOSSIBLE], ["a", "b", "c"])
    failed = [result for result in found if result.passed is False]
    assert [(result.component, result.check, result.level) for result in failed] == [
        ("b", CHECK, Level.CRITICAL),
        ("c", CHECK, Level.CRITICAL),
    ]
    assert [result.component for result in found] == ["a", "b", "b", "c", "c"]
    assert "was not looked at: nothing names it" in failed[0].text
    assert all(result.todo for result in failed)


def test_an_expected_component_without_any_check_is_a_failure_and_was_not_looked_at():
    found = require([PASSED], ["a", "d"])
    assert [(result.component, result.check, result.passed) for result in found[1:]] == [("d", CHECK, False)]
    assert unseen_line(found) == "NOT LOOKED AT: d (not configured)"
    assert unseen_line([]).startswith("NOT LOOKED AT: ")


def test_a_look_in_part_is_not_what_was_expected():
    found = require([A.skipped("x", "2 of 6", Skip.INCOMPLETE)], ["a"])
    assert found[0].text == "a is expected, and was looked at only in part: 2 of 6"
    assert unseen_line(found) == "LOOKED AT: the component; only in part: a"


def test_a_failed_expectation_is_no_look_at_the_component():
    found = require([PASSED, UNCONFIGURED, IMPOSSIBLE], ["b", "c"])
    assert unseen_line(found) == unseen_line([PASSED, UNCONFIGURED, IMPOSSIBLE])


def test_what_is_not_expected_may_be_skipped():
    results = [PASSED, UNCONFIGURED]
    assert require(results, []) == require(results, ["a"]) == results
