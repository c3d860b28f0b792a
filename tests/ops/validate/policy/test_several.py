"""Much that was found is told in one line."""

from lessee.ops.validate.policy.results import several


def test_of_many_the_first_are_told_and_how_many_more_there_are():
    assert several(["b", "a"]) == "a, b"
    assert several(range(9)) == "0, 1, 2, 3, 4 and 4 more"
    assert several([]) == ""
