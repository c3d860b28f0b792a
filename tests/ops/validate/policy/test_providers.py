"""What a provider's response says about a key, which is sent only in a header."""

from typing import get_args

import pytest

from lessee.config.grammar.validate import Provider
from lessee.ops.validate.policy.providers import PROVIDERS, Verdict


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_key_is_sent_in_a_header_over_tls(name):
    provider = PROVIDERS[name]
    assert provider.url.startswith("https://")
    assert [value for value in provider.headers("the-key").values() if "the-key" in value] == [
        f"{provider.prefix}the-key"
    ]


@pytest.mark.parametrize(
    ("name", "status", "verdict"),
    [
        ("openai", 200, Verdict.VALID),
        ("openai", 204, Verdict.VALID),
        ("openai", 401, Verdict.REJECTED),
        ("openai", 403, Verdict.REJECTED),
        ("openai", 422, Verdict.UNKNOWN),
        ("brave", 422, Verdict.REJECTED),
        ("openai", 429, Verdict.LIMITED),
        ("openrouter", 402, Verdict.LIMITED),
        ("openai", 301, Verdict.UNKNOWN),
        ("openai", 500, Verdict.UNKNOWN),
    ],
)
def test_a_status_gives_a_verdict_on_the_key(name, status, verdict):
    assert PROVIDERS[name].verdict(status) is verdict


def test_each_provider_of_the_configuration_is_known():
    assert set(get_args(Provider)) == PROVIDERS.keys()
