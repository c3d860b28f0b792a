"""The format of SOPS on trees that a file's author made up, with a real AES-GCM and a MAC of the test's own."""

import hashlib
import os
import time
from base64 import b64encode
from contextlib import suppress

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.sources.policy.sops_format import SopsError, decrypted, metadata_of, unflattened

CIPHER = AESGCM(bytes(32))
BLOCK = {"age": [{"recipient": "age1", "enc": "key"}], "mac": "", "lastmodified": "2026-01-01T00:00:00Z"}


def open_(iv, data, additional):
    try:
        return CIPHER.decrypt(iv, data, additional)
    except InvalidTag:
        raise ValueError from None


def seal(text, additional, kind="str"):
    iv = os.urandom(32)
    sealed = CIPHER.encrypt(iv, text if isinstance(text, bytes) else text.encode(), additional.encode())
    parts = (b64encode(part).decode() for part in (sealed[:-16], iv, sealed[-16:]))
    return "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{}]".format(*parts, kind)


def read(tree, plain, **block):
    """Decrypt the tree, whose plaintexts in order are these bytes."""
    mac = seal(hashlib.sha512(plain).hexdigest().upper(), BLOCK["lastmodified"])
    return decrypted(tree, metadata_of(BLOCK | {"mac": mac} | block), open_)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "int", 5),
        ("1.5", "float", 1.5),
        ("0.0000000015", "float", 1.5e-9),
        ("1000000000000000000000000000000", "float", 1e30),
        ("7", "float", 7),
        ("True", "bool", True),
        ("False", "bool", False),
        ("2026-01-01T00:00:00Z", "time", "2026-01-01T00:00:00Z"),
    ],
)
def test_each_type_has_its_bytes_in_the_mac(text, kind, value):
    assert read({"a": seal(text, "a:", kind)}, text.encode()) == {"a": value}


@pytest.mark.parametrize(
    ("rules", "encrypted"),
    [
        ({}, {"a", "b_x"}),
        ({"unencrypted_suffix": "_x"}, {"a"}),
        ({"encrypted_suffix": "_x"}, {"b_x"}),
        ({"unencrypted_regex": "^a$"}, {"b_x"}),
        ({"encrypted_regex": "^(?:a)$"}, {"a"}),
        ({"encrypted_regex": "^.*a.*$"}, {"a"}),
        ({"encrypted_regex": "^[a]+$"}, {"a"}),
        ({"encrypted_regex": "^(a|x)$|^(y|z)$"}, {"a"}),
    ],
)
def test_a_rule_says_what_is_encrypted(rules, encrypted):
    tree = {key: seal("v", f"{key}:") if key in encrypted else "v" for key in ("a", "b_x")}
    assert read(tree, b"vv", **rules) == {"a": "v", "b_x": "v"}


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (None, "no metadata"),
        ({**BLOCK, "encrypted_comment_regex": "x"}, "not supported"),
        ({**BLOCK, "key_groups": [{}]}, "key groups"),
        ({**BLOCK, "age": []}, "not encrypted for age"),
        ({**BLOCK, "age": "x"}, "not encrypted for age"),
        ({**BLOCK, "age": [{"recipient": "age1"}]}, "not encrypted for age"),
        ({**BLOCK, "mac": None}, "no MAC"),
        ({**BLOCK, "encrypted_suffix": "x" * 201}, "more than 200 characters"),
    ],
)
def test_metadata_that_is_not_understood_is_refused(block, reason):
    with pytest.raises(SopsError, match=reason):
        metadata_of(block)


DEEP = {"a": None}
for _ in range(60):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("tree", "block", "reason"),
    [
        ({"a": "plain"}, {}, "should be encrypted"),
        ({"a": 5}, {}, "should be encrypted"),
        ({"a": seal("v", "b:")}, {}, "cannot be decrypted"),
        ({"a": seal("v", "a:", "unknown")}, {}, "cannot be decrypted"),
        ({"a": seal("v", "a:", "bool")}, {}, "cannot be decrypted"),
        ({"a": seal(b"\xff", "a:")}, {}, "cannot be decrypted"),
        ({"a": "ENC[AES256_GCM,data:*,iv:*,tag:*,type:str]"}, {}, "cannot be decrypted"),
        ({"a": ""}, {"mac": ""}, "MAC is wrong"),
        ({"a_unencrypted": object()}, {}, "a type that is not supported"),
        ({5: ""}, {}, "a key in it is no text"),
        ({"k" * 201: ""}, {}, "a key in it is no text"),
        (DEEP, {}, "levels"),
        ({"a": [None] * 30_000}, {}, "values"),
        ({"a": ""}, {"encrypted_regex": "("}, "no regular expression"),
        ({"a": ""}, {"encrypted_regex": "(a|a)*"}, "repeats too much"),
        ({"a": ""}, {"encrypted_regex": "a+b+c"}, "repeats too much"),
        ({"a": ""}, {"encrypted_regex": "(|a)" * 40 + "b"}, "repeats too much"),
        ({"a": ""}, {"encrypted_regex": "(aa|a)(aa|a)(aa|a)b"}, "repeats too much"),
        ({"a": ""}, {"encrypted_regex": "[[a]"}, "set of characters"),
    ],
)
def test_a_tree_that_sops_would_not_write_is_refused(tree, block, reason):
    with pytest.raises(SopsError, match=reason):
        read(tree, b"", **block)


def test_a_mac_over_the_encrypted_values_alone_is_no_mac_over_all():
    tree, prefix = {"a": seal("v", "a:"), "b_unencrypted": 5}, hashlib.sha256(b"sops").digest()
    assert read(tree, prefix + b"v", mac_only_encrypted=True) == {"a": "v", "b_unencrypted": 5}
    for plain, only in ((prefix + b"v", False), (b"v5", True)):
        with pytest.raises(SopsError, match="MAC is wrong"):
            read(tree, plain, mac_only_encrypted=only)
    with pytest.raises(SopsError, match="MAC is wrong"):
        read({"a": "", "b_unencrypted": False, "c_unencrypted": 0.5}, b"False0.6")


@given(rule=st.text("a.*+?()|[]{}^$\\1", max_size=30))
@settings(max_examples=150, deadline=None)
def test_no_rule_takes_long(rule):
    began = time.process_time()
    with suppress(SopsError):
        read({"a" * 150 + "b": ""}, b"", encrypted_regex=rule or "x", mac_only_encrypted=True)
    assert time.process_time() - began < 1


def test_many_values_below_long_keys_take_no_time():
    tree = {"a": [None, *["v"] * 15_000]}
    for number in range(45):
        tree = {f"{number:03}" + "a" * 190: tree}
    began = time.process_time()
    with pytest.raises(SopsError, match="MAC is wrong"):
        read(tree, b"", encrypted_regex="a+b", mac_only_encrypted=True)
    assert time.process_time() - began < 1


def test_the_metadata_of_a_dotenv_file_are_lines():
    lines = [("A", "1"), ("sops_mac", "m"), ("sops_age__list_1__map_enc", "2"), ("sops_age__list_0__map_enc", "1")]
    assert unflattened(iter(lines)) == ({"A": "1"}, {"mac": "m", "age": [{"enc": "1"}, {"enc": "2"}]})
    assert unflattened(iter([("A", "1")])) == ({"A": "1"}, {})
