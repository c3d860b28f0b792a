"""The sources of initial values, and their descriptions without the value."""

import pytest

from lessee.config.grammar.setup import GivenValue, NewValue
from lessee.ops.setup.policy.initial_values import (
    ALPHABET,
    Constant,
    FromFile,
    FromVariable,
    Generate,
    Prompt,
    describe,
    source_of,
)


@pytest.mark.parametrize(
    ("spec", "source", "words"),
    [
        (NewValue(generate=32), Generate(32, ALPHABET), "generated, 32 characters"),
        (NewValue(generate=1, charset="ab"), Generate(1, "ab"), "generated, 1 character"),
        (NewValue(value="simba"), Constant("simba"), "from the configuration"),
        (NewValue(env="A_{environment}"), FromVariable("A_testing"), "from $A_testing"),
        (GivenValue(env="A"), FromVariable("A"), "from $A"),
        (NewValue(file="in/{environment}"), FromFile("in/testing"), "from in/testing"),
        (GivenValue(prompt=True), Prompt(), "typed at a prompt"),
    ],
)
def test_each_source_is_described_in_words(spec, source, words):
    assert source_of(spec, "testing") == source
    assert describe(source) == words


def test_a_constant_is_hidden_in_its_repr():
    assert repr(Constant("simba")) == "Constant()"
