"""The blocks `validate` and `rotation` are read for the commands that use them."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def parsed(text):
    return parse(text, source="lessee.yaml", environ={})


def test_the_provider_of_an_api_key_is_its_name_or_is_set():
    keys = "openai: {secret: api-keys/openai}, mine: {secret: api-keys/mine, provider: openrouter}"
    checks = parsed(f"validate: {{api_keys: {{{keys}}}}}").validate.api_keys
    assert (checks["openai"].provider, checks["openai"].key, checks["mine"].provider) == (None, "api_key", "openrouter")


def test_an_api_key_of_an_unknown_provider_is_rejected():
    with pytest.raises(ConfigError, match=r"lessee\.yaml:1: validate\.api_keys\.mine.*missing.*'mine' is not a known"):
        parsed("validate: {api_keys: {mine: {secret: api-keys/mine}}}")


def test_rotation_targets_are_read():
    assert (
        parsed("rotation: {jwt: {kind: vault, secret: auth/jwt, rotation_period: 24h}}").rotation["jwt"].rotation_period
        == 86400
    )
