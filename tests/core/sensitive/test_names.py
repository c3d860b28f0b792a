"""What a secret's keys promise of its values."""

import pytest

from lessee.core.sensitive.names import Place, fields, fingerprint, has_password, is_plain, is_secretive, is_user


def test_every_text_and_number_is_found_with_its_key():
    data = {"a": "x", "port": 5432, "on": True, "no": None, "in": {"deep": ["y", {"z": 1.5}]}, "odd": object()}
    assert dict(fields(data)) == {"a": "x", "port": "5432", "in.deep.0": "y", "in.deep.1.z": "1.5"}


@pytest.mark.parametrize(
    "key",
    ["password", "DB_PASSWORD", "apiKey", "api-key", "secret_key", "access_key", "token", "previous_api_key",
     "in.deep.passwd", "secret_id", "token.0"],
)  # fmt: skip
def test_names_of_what_lets_its_reader_in(key):
    assert is_secretive(key)
    assert not is_plain(key, "x")


@pytest.mark.parametrize(
    "key",
    ["host", "port", "database", "username", "bucket", "endpoint", "rotation_timestamp", "rotationCount", "public_key",
     "publishable_key", "access_key_id", "token_url", "key_name", "certificate"],
)  # fmt: skip
def test_names_of_what_need_not_be_kept_secret(key):
    assert is_plain(key, "x")
    assert not is_secretive(key)


@pytest.mark.parametrize("key", ["value", "dsn", "?", "user_pin"])
def test_of_other_names_nothing_is_known(key):
    assert not is_plain(key, "x")
    assert not is_secretive(key)


def test_a_url_with_a_password_is_not_plain_whatever_its_name():
    assert is_plain("database_url", "postgres://db:5432/simba")
    assert not is_plain("database_url", "postgres://simba:not-real@db:5432/simba")
    assert has_password("redis://:not-real@cache:6379/0")
    assert not has_password("https://host:8200/a:b@c")


def test_names_of_users():
    assert is_user("username")
    assert is_user("db_user")
    assert not is_user("password")


def test_a_place_names_path_and_key():
    assert str(Place("secret/testing/database/postgres", "password")) == "secret/testing/database/postgres: password"


def test_fingerprints_are_alike_for_the_same_value_and_salt_alone():
    assert fingerprint("a", b"1") == fingerprint("a", b"1")
    assert (
        len({fingerprint("a", b"1"), fingerprint("b", b"1"), fingerprint("a", b"2"), fingerprint("\ud800", b"1")}) == 4
    )
