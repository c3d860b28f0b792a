"""Placeholders and values that are easy to guess are weak; other values are not."""

import pytest

from lessee.core.sensitive.common_passwords import COMMON
from lessee.core.sensitive.weakness import Weakness, weakness


@pytest.mark.parametrize(
    "value",
    ["changeme", "CHANGE_ME", "change-this", "changeme123", "your_api_key", "sk-your_openrouter_key", "your-password",
     "put_the_key_here", "<password>", "${DB_PASSWORD}", "{{ password }}", "xxxx", "XXXXXXXX", "****", "...", "todo",
     "TBD", "replace_me", "replaceme", "insert-your-key", "placeholder", "my_secret", "the-token"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["password", "note"])
def test_a_placeholder_is_weak_for_any_key(key, value):
    assert weakness(key, value) is Weakness.PLACEHOLDER


@pytest.mark.parametrize("value", ["test", "example", "Testing", "none", "NULL", "dummy", "un-set"])
def test_a_word_for_nothing_is_a_placeholder_for_a_password(value):
    assert weakness("password", value) is Weakness.PLACEHOLDER
    assert weakness("database", value) is None


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_value_is_weak(value):
    assert weakness("endpoint", value) is Weakness.EMPTY


@pytest.mark.parametrize("value", ["postgres", "P@ssw0rd", "minioadmin", "admin-123", "letmein"])
def test_a_common_password_is_weak(value):
    assert weakness("password", value) is Weakness.COMMON
    assert weakness("username", value) is None


def test_a_value_equal_to_its_key_or_user_is_weak():
    assert weakness("api_key", "API-KEY") is Weakness.NAME_OF_KEY
    assert weakness("db.apikey", "apikey") is Weakness.NAME_OF_KEY
    assert weakness("password", "Simba-Production", frozenset({"simba-production"})) is Weakness.NAME_OF_USER


def test_a_short_or_monotonous_value_is_weak():
    assert weakness("password", "k7Q!vt2x") is Weakness.SHORT
    assert weakness("password", "zzzzzzzzzzzzzzzz") is Weakness.MONOTONOUS


@pytest.mark.parametrize("value", ["k7Q!vt2xPq9z", "correct horse battery staple", "sk-or-v1-0f3a8c1e9d7b5a2c4e6f8091"])
def test_a_strong_value_is_not_weak(value):
    assert weakness("password", value) is None


def test_the_list_of_common_passwords_is_in_lower_case():
    assert len(COMMON) > 200
    assert all(word == word.lower() for word in COMMON)
