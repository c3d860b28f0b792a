"""The names of keys tell which values are sensitive."""

import pytest

from lessee.core.sensitive.names import (
    SecretField,
    fields,
    fingerprint,
    has_password,
    is_not_secret,
    is_sensitive,
    is_username,
)


def test_every_text_and_number_is_found_with_its_key():
    data = {"a": "x", "port": 5432, "on": True, "no": None, "in": {"deep": ["y", {"z": 1.5}]}, "odd": object()}
    assert dict(fields(data)) == {"a": "x", "port": "5432", "in.deep.0": "y", "in.deep.1.z": "1.5"}


@pytest.mark.parametrize(
    "key",
    ["password", "DB_PASSWORD", "apiKey", "api-key", "secret_key", "access_key", "token", "previous_api_key",
     "in.deep.passwd", "secret_id", "token.0"],
)  # fmt: skip
def test_keys_of_credentials_are_sensitive(key):
    assert is_sensitive(key)
    assert not is_not_secret(key, "x")


@pytest.mark.parametrize(
    "key",
    ["host", "port", "database", "username", "bucket", "endpoint", "rotation_timestamp", "rotationCount", "public_key",
     "publishable_key", "access_key_id", "token_url", "key_name", "certificate"],
)  # fmt: skip
def test_keys_of_addresses_and_names_are_not_secret(key):
    assert is_not_secret(key, "x")
    assert not is_sensitive(key)


@pytest.mark.parametrize("key", ["value", "dsn", "?", "user_pin"])
def test_other_keys_are_neither(key):
    assert not is_not_secret(key, "x")
    assert not is_sensitive(key)


def test_a_url_with_a_password_is_secret_for_any_key():
    assert is_not_secret("database_url", "postgres://db:5432/simba")
    assert not is_not_secret("database_url", "postgres://simba:not-real@db:5432/simba")
    assert has_password("redis://:not-real@cache:6379/0")
    assert not has_password("https://host:8200/a:b@c")


def test_keys_of_usernames():
    assert is_username("username")
    assert is_username("db_user")
    assert not is_username("password")


def test_a_field_is_printed_as_path_and_key():
    assert (
        str(SecretField("secret/testing/database/postgres", "password")) == "secret/testing/database/postgres: password"
    )


def test_fingerprints_are_equal_only_for_the_same_value_and_salt():
    assert fingerprint("a", b"1") == fingerprint("a", b"1")
    assert (
        len({fingerprint("a", b"1"), fingerprint("b", b"1"), fingerprint("a", b"2"), fingerprint("\ud800", b"1")}) == 4
    )
