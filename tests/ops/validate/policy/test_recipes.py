"""What a provider's answer says of a key, and that the key travels in a header alone."""

from typing import get_args

import pytest

from lessee.config.grammar.validate import Provider
from lessee.ops.validate.policy.recipes import RECIPES, Verdict


@pytest.mark.parametrize("name", RECIPES)
def test_every_key_travels_in_a_header_over_tls(name):
    recipe = RECIPES[name]
    assert recipe.url.startswith("https://")
    assert [value for value in recipe.headers("the-key").values() if "the-key" in value] == [f"{recipe.prefix}the-key"]


@pytest.mark.parametrize(
    ("name", "status", "verdict"),
    [
        ("openai", 200, Verdict.VALID),
        ("openai", 204, Verdict.VALID),
        ("openai", 401, Verdict.REFUSED),
        ("openai", 403, Verdict.REFUSED),
        ("openai", 422, Verdict.UNKNOWN),
        ("brave", 422, Verdict.REFUSED),
        ("openai", 429, Verdict.LIMITED),
        ("openrouter", 402, Verdict.LIMITED),
        ("openai", 301, Verdict.UNKNOWN),
        ("openai", 500, Verdict.UNKNOWN),
    ],
)
def test_an_answer_says_what_it_can_of_a_key(name, status, verdict):
    assert RECIPES[name].verdict(status) is verdict


def test_every_provider_of_the_configuration_has_a_recipe():
    assert set(get_args(Provider)) == RECIPES.keys()
