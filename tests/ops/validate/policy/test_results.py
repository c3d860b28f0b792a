"""The results of a component, and lists in one line."""

from lessee.core.severity import Level
from lessee.ops.validate.policy.results import Finding, Reporter, listed


def test_a_list_has_its_first_items_and_the_number_of_the_others():
    assert listed(["b", "a"]) == "a, b"
    assert listed(range(9)) == "0, 1, 2, 3, 4 and 4 more"
    assert listed([]) == ""


def test_a_failure_lists_its_findings_in_order():
    result = Reporter("c").found("n", Level.WARNING, "found: ", [Finding("b"), Finding("a")], "do it")
    assert (result.text, result.passed, result.level) == ("found: a, b", False, Level.WARNING)
    assert [finding.text for finding in result.findings] == ["a", "b"]


def test_a_skipped_check_has_neither_passed_nor_failed():
    assert Reporter("c").skipped("n", "unavailable").passed is None
