"""The sources of initial values, and their descriptions without the value."""

import json

import pytest

from lessee.config.grammar.setup import GivenValue, NewValue
from lessee.core.errors import UsageError
from lessee.ops.setup.policy.initial_values import (
    ALPHABET,
    Constant,
    FromFile,
    FromVariable,
    Generate,
    Json,
    Prompt,
    describe,
    parsed,
    source_of,
)

CANARY = "canary-7a"


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
        (NewValue(value="5432", json=True), Json(Constant("5432")), "from the configuration, JSON"),
    ],
)
def test_each_source_is_described_in_words(spec, source, words):
    assert source_of(spec, "testing") == source
    assert describe(source) == words


def test_a_constant_is_hidden_in_its_repr():
    assert repr(Constant("simba")) == "Constant()"


@pytest.mark.parametrize("value", [5432, 1.5, True, "text", ["a", {"b": None}], {}])
def test_a_json_value_keeps_its_type(value):
    assert parsed(json.dumps(value), where="key") == value


@pytest.mark.parametrize("text", [CANARY, "", "{", "NaN", "-Infinity", "null", "[" * 100_000, "1 2"])
def test_an_error_of_json_does_not_show_it(text):
    with pytest.raises(UsageError) as caught:
        parsed(text, where="secret/db: port")
    assert CANARY not in str(caught.value)
    assert str(caught.value).startswith("secret/db: port: ")


@pytest.mark.parametrize("text", ["1e400", "9007199254740993", '{"a": [-9007199254740993]}', "1" * 5000])
def test_a_number_that_vault_would_change_is_an_error(text):
    with pytest.raises(UsageError, match="secret/db: port: "):
        parsed(text, where="secret/db: port")
    assert parsed("9007199254740992", where="key") == 2**53
