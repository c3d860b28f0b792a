"""The results of a component, and lists in one line."""

from lessee.ops.validate.policy.results import Reporter, listed


def test_a_list_has_its_first_items_and_the_number_of_the_others():
    assert listed(["b", "a"]) == "a, b"
    assert listed(range(9)) == "0, 1, 2, 3, 4 and 4 more"
    assert listed([]) == ""


def test_a_skipped_check_has_neither_passed_nor_failed():
    assert Reporter("c").skipped("n", "unavailable").passed is None
