"""Where a first value comes from, told without it."""

import pytest

from lessee.config.grammar.setup import GivenValue, NewValue
from lessee.ops.setup.policy.initial_values import (
    ALPHABET,
    Constant,
    FromFile,
    FromVariable,
    Generate,
    Prompt,
    source_of,
    describe,
)


@pytest.mark.parametrize(
    ("said", "source", "words"),
    [
        (NewValue(generate=32), Generate(32, ALPHABET), "new, 32 characters"),
        (NewValue(generate=1, alphabet="ab"), Generate(1, "ab"), "new, 1 character"),
        (NewValue(value="simba"), Constant("simba"), "as configured"),
        (NewValue(env="A_{environment}"), FromVariable("A_testing"), "from $A_testing"),
        (GivenValue(env="A"), FromVariable("A"), "from $A"),
        (NewValue(file="in/{environment}"), FromFile("in/testing"), "from in/testing"),
        (GivenValue(prompt=True), Prompt(), "asked for"),
    ],
)
def test_a_source_is_told_in_words(said, source, words):
    assert source_of(said, "testing") == source
    assert describe(source) == words


def test_a_constant_does_not_show_in_a_repr():
    assert repr(Constant("simba")) == "Constant()"
