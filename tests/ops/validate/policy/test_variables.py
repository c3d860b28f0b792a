"""Which public variables are credentials, by name and by value."""

import pytest

from lessee.ops.validate.policy.variables import is_credential, may_be_public


@pytest.mark.parametrize(
    "name",
    ["VITE_OPENROUTER_API_KEY", "NEXT_PUBLIC_API_KEY", "REACT_APP_ADMIN_PASSWORD", "PUBLIC_TOKEN", "VITE_CLIENT_SECRET",
     "VITE_SITE_PASSWORD"],
)  # fmt: skip
def test_a_variable_named_like_a_credential_is_one(name):
    assert is_credential(name)


@pytest.mark.parametrize(
    "name",
    ["VITE_API_URL", "VITE_ENABLE_API_KEYS", "NEXT_PUBLIC_SUPABASE_ANON_KEY", "VITE_STRIPE_PUBLISHABLE_KEY",
     "VITE_RECAPTCHA_SITE_KEY", "PUBLIC_", "VITE_MAP_TOKEN_URL"],
)  # fmt: skip
def test_other_variables_and_keys_for_browsers_are_none(name):
    assert not is_credential(name)


@pytest.mark.parametrize("value", ["true", " False ", "12", "1.5", "", "pk_test_fake"])
def test_switches_numbers_and_publishable_keys_may_be_public(value):
    assert may_be_public(value)


@pytest.mark.parametrize("value", ["sk_live_fake", "truest", "correct horse"])
def test_other_values_may_not(value):
    assert not may_be_public(value)
