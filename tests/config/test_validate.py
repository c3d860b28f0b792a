"""What `validate:` and `rotation:` say reaches the commands that need it."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def parsed(text):
    return parse(text, source="lessee.yaml", environ={})


def test_a_key_is_a_providers_by_its_name_or_by_its_recipe():
    keys = "openai: {secret: api-keys/openai}, mine: {secret: api-keys/mine, recipe: openrouter}"
    said = parsed(f"validate: {{api_keys: {{{keys}}}}}").validate.api_keys
    assert (said["openai"].recipe, said["openai"].key, said["mine"].recipe) == (None, "api_key", "openrouter")


def test_a_key_of_nobody_that_is_known_is_a_mistake():
    with pytest.raises(ConfigError, match=r"lessee\.yaml:1: validate\.api_keys\.mine.*missing.*'mine' is no provider"):
        parsed("validate: {api_keys: {mine: {secret: api-keys/mine}}}")


def test_what_is_rotated_is_known():
    assert parsed("rotation: {jwt: {kind: vault, secret: auth/jwt, every: 24h}}").rotation["jwt"].every == 86400
