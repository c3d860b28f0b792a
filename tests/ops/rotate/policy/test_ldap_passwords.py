"""Values of userPassword are created as directories store them, and compared with passwords."""

import base64
import hashlib

import pytest

from lessee.ops.rotate.policy.ldap_passwords import hashed, matches

PASSWORD = "correct horse ü"


def stored(scheme, name, salt=b""):
    digest = hashlib.new(name, PASSWORD.encode() + salt).digest()
    return b"{%s}%s" % (scheme, base64.b64encode(digest + salt))


def test_a_new_value_matches_its_password_alone():
    value = hashed(PASSWORD, "6f1d")
    assert value.startswith(b"{SSHA}")
    assert PASSWORD.encode() not in value
    assert matches(value, PASSWORD) is True
    assert matches(value, f"{PASSWORD} ") is False
    assert matches(value, "") is False


def test_a_retry_creates_the_same_value_and_another_rotation_another():
    assert hashed(PASSWORD, "6f1d") == hashed(PASSWORD, "6f1d")
    assert hashed(PASSWORD, "6f1d") != hashed(PASSWORD, "6f1e")


@pytest.mark.parametrize(
    "value",
    [
        stored(b"SHA", "sha1"),
        stored(b"ssha", "sha1", b"salt"),
        stored(b"MD5", "md5"),
        stored(b"SMD5", "md5", b"salt"),
        stored(b"SHA256", "sha256"),
        stored(b"SSHA384", "sha384", b"salt"),
        stored(b"SSHA512", "sha512", b"0123456789abcdef"),
        PASSWORD.encode(),
        b"{CLEARTEXT}" + PASSWORD.encode(),
    ],
)
def test_a_value_of_any_scheme_of_slapd_is_compared(value):
    assert matches(value, PASSWORD) is True
    assert matches(value, "another") is False


@pytest.mark.parametrize("value", [b"{CRYPT}$6$x$y", b"{ARGON2}$argon2id$v=19$x", b"{PBKDF2-SHA256}1$x$y"])
def test_a_value_of_another_scheme_may_be_of_any_password(value):
    assert matches(value, PASSWORD) is None


@pytest.mark.parametrize("value", [b"{SSHA}", b"{SSHA}!", b"{SHA}AAAA", b"{}x", b""])
def test_a_broken_value_is_of_no_password(value):
    assert matches(value, PASSWORD) is False
