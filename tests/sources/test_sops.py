"""Files that a real SOPS encrypted, and files that someone changed."""

import re
import time

import pyrage
import pytest
import yaml

from lessee.core.failures import Kind
from lessee.sources.files import SETTLING_TIME
from lessee.sources.reader import ReadError
from lessee.sources.sops import SopsReader
from support.servers.sops import Sops

PLAIN = """
# a comment
password: "hunter2 é"
number: 5
small: 1.5e-9
flag: true
nothing: null
empty: ""
host_unencrypted: db
port_unencrypted: 5432
nested:
  - name: x
    values: [1, 2, {inner: d}]
  - |
    several
    lines
"""
VALUES = yaml.safe_load(PLAIN.replace("1.5e-9", "1.5e-9")) | {"small": 1.5e-9}


@pytest.fixture(scope="module")
def sops(tmp_path_factory):
    return Sops(tmp_path_factory.mktemp("sops"))


@pytest.fixture
def reader(sops):
    return SopsReader(str(sops.directory), str(sops.key_file))


def failure(reader, path):
    time.sleep(SETTLING_TIME)
    with pytest.raises(ReadError) as caught:
        reader.read(path)
    return caught.value.failure


def test_what_sops_encrypted_is_read(sops, reader):
    sops.write("a/all.yaml", PLAIN)
    sops.write("a/some.yml", PLAIN, mac_only_encrypted="true", encrypted_regex="^(password|number)$")
    sops.write("a/rest.yaml", PLAIN, unencrypted_regex="^(nested|flag)$")
    sops.write("a/suffix.yaml", PLAIN, encrypted_suffix="word")
    sops.write("a/object.json", '{"a": {"b": 1, "c": 1.5, "d": false, "x_unencrypted": 3}, "e": "f"}')
    sops.write("a/variables.env", "#c\nA=1\nB=two words\\nmore\nC_unencrypted=z\n")
    time.sleep(SETTLING_TIME)
    for path in ("a/all", "a/rest"):
        assert reader.read(path) == VALUES
    for path in ("a/some", "a/suffix"):  # Python's YAML takes 1.5e-9 for a text.
        assert reader.read(path) | {"small": 1.5e-9} == VALUES
    assert reader.read("a/object") == {"a": {"b": 1, "c": 1.5, "d": False, "x_unencrypted": 3}, "e": "f"}
    assert reader.read("a/variables") == {"A": "1", "B": "two words\nmore", "C_unencrypted": "z"}
    assert reader.names("a/") == ["all", "object", "rest", "some", "suffix", "variables"]
    assert reader.read("a/all") is reader.read("a/all")


def changed(sops, name, change):
    target = sops.write(name, "password: hunter2\nother: value\nport_unencrypted: 5432\n")
    target.write_text(change(target.read_text()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.replace("5432", "5433"), "its MAC is wrong"),
        (lambda t: re.sub(r"(?m)^other: .*\n", "", t), "its MAC is wrong"),
        (lambda t: re.sub(r"(?m)^(other: ).*", r"\1plain", t), "'other' should be encrypted, and is not"),
        (lambda t: re.sub(r"(?m)^(other: ).*", r"\g<1>5", t), "'other' should be encrypted, and is not"),
        (lambda t: t.replace("password:", "secret:", 1), "'secret' cannot be decrypted"),
        (lambda t: re.sub(r"(lastmodified: ).*", r'\1"2020-01-01T00:00:00Z"', t), "its MAC cannot be decrypted"),
        (lambda t: re.sub(r"(?m)^    mac: .*\n", "", t), "it has no MAC"),
        (lambda t: re.sub(r"(?m)^    mac: .*\n", "    mac: x\n", t), "its MAC should be encrypted"),
        (lambda t: re.sub(r"(?s)\nsops:.*", "\n", t), "it has no metadata of SOPS"),
        (lambda t: t.replace("password: ", "password: &a ").replace("other: ", "other: *a #"), "it has an alias"),
        (lambda t: t + "--- {}\n", "it is not one document of YAML"),
    ],
)
def test_a_file_that_was_changed_is_refused_and_no_value_is_in_the_reason(sops, reader, change, reason):
    changed(sops, "bad.yaml", change)
    found = failure(reader, "bad")
    assert found.kind is Kind.INVALID
    assert found.text.startswith(f"bad.yaml: {reason}")
    assert "hunter2" not in found.text
    assert "5433" not in found.text


def test_another_identity_decrypts_nothing_until_it_is_there(sops, tmp_path):
    sops.write("mine.yaml", "a: b\n")
    key_file = tmp_path / "age.txt"
    reader = SopsReader(str(sops.directory), str(key_file))
    assert failure(reader, "mine").kind is Kind.UNAVAILABLE
    key_file.write_text("AGE-SECRET-KEY-1NONE\n")
    assert "has no age identity" in failure(reader, "mine").text
    key_file.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    assert "none of the age identities decrypts it" in failure(reader, "mine").text
    key_file.write_text(key_file.read_text() + sops.key_file.read_text())
    assert reader.read("mine") == {"a": "b"}


def test_two_files_of_one_path_are_refused_and_none_is_not_found(sops, reader):
    sops.write("two.yaml", "a: b\n")
    sops.write("two.json", '{"a": "b"}')
    assert "there are several files: two.yaml, two.json" in failure(reader, "two").text
    assert failure(reader, "none").kind is Kind.NOT_FOUND
    (sops.directory / "latin.yaml").write_bytes(b"\xff")
    assert failure(reader, "latin").text == "latin.yaml is not UTF-8 text"


@pytest.mark.parametrize("name", ["", "open"])
def test_a_directory_that_every_user_may_write_is_refused(sops, reader, name):
    sops.write("open/keys.yaml", PLAIN)
    time.sleep(SETTLING_TIME)
    folder = sops.directory / name
    mode = folder.stat().st_mode
    folder.chmod(0o777)
    try:
        assert failure(reader, "open/keys").text.startswith("every user of this machine may write to ")
    finally:
        folder.chmod(mode)
    assert reader.read("open/keys") == VALUES
