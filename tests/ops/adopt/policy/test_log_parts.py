"""A log that shortens its texts shows no part of a secret."""

import pytest

from lessee.ops.adopt.policy.log_parts import without_parts

VALUE = "fake11112222333344445555"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input_value={'url': 'postgre...nd11112222333344445555'}", "input_value={'url': 'postgre...nd***'}"),
        (VALUE, "***"),
        (f"{VALUE}{VALUE[:9]}", "***"),
        (f"a {VALUE[:8]} b {VALUE[-9:]}.", "a *** b ***."),
        (f"{VALUE[:8]} and {VALUE[:7]}", f"*** and {VALUE[:7]}"),
        ("nothing of it", "nothing of it"),
        ("short", "short"),
        ("", ""),
    ],
)
def test_a_part_of_eight_characters_is_hidden(text, expected):
    assert without_parts(text, [VALUE, "five5"]) == expected
