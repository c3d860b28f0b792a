"""The three notations that SOPS writes, and what it never writes."""

import pytest

from lessee.sources.policy.sops_format import SopsError
from lessee.sources.policy.sops_text import parse

METADATA = "sops: {version: 3.11.0, age: [{enc: k}], mac: m, lastmodified: t}\n"
JSON = '"sops": {"age": [{"enc": "k"}], "mac": "m", "lastmodified": "t"}'


def test_yaml_has_the_types_of_its_core_schema():
    text = "a: ~\nb: true\nc: FALSE\nd: 5\ne: -0.5\nf: '5'\ng: yes\nh: [x, {i: 1e3}]\nj:\n"
    tree, metadata = parse(text + METADATA, ".yaml")
    expected = {"a": None, "b": True, "c": False, "d": 5, "e": -0.5, "f": "5", "g": "yes", "h": ["x", {"i": 1000.0}]}
    assert tree == expected | {"j": None}
    assert metadata.keys == ("k",)


def test_json_and_dotenv_are_read():
    assert parse(f'{{"a": [1, "b"], {JSON}}}', ".json")[0] == {"a": [1, "b"]}
    text = "#c\n\nA=x=y\\nz\nsops_age__list_0__map_enc=k\nsops_mac=m\nsops_lastmodified=t\n"
    assert parse(text, ".env")[0] == {"A": "x=y\nz"}


@pytest.mark.parametrize(
    ("text", "ending", "reason"),
    [
        ("a: &x [y]\nb: *x\n", ".yaml", "an alias"),
        ("a: 1\na: 2\n", ".yaml", "the same key twice"),
        ("a: 0x10\n", ".yaml", "quote it"),
        ("a: 2026-01-01\n", ".yaml", "quote it"),
        ("a: 1_000\n", ".yaml", "quote it"),
        ("a: 010\n", ".yaml", "quote it"),
        ("a: .inf\n", ".yaml", "quote it"),
        ("? [a]\n: b\n", ".yaml", "a key in it is no text"),
        ("<<: {a: b}\n", ".yaml", "a key in it is no text"),
        ("a: [\n", ".yaml", "not one document"),
        ("a: b\n---\nc: d\n", ".yaml", "not one document"),
        ("- a\n", ".yaml", "no mapping"),
        ("", ".yaml", "no mapping"),
        ("a: " + "[" * 100, ".yaml", "levels"),
        ("[" * 100_000, ".json", "levels"),
        ("[" * 100_000, ".yaml", "levels|document"),
        ("[]", ".json", "no mapping"),
        ("{", ".json", "not valid JSON"),
        ('{"a": NaN}', ".json", "JSON does not have"),
        ('{"a": 1, "a": 2}', ".json", "the same key twice"),
        ('{"a": "\\ud800"}', ".json", "half a surrogate pair"),
        ('{"\\udc80": 1}', ".json", "half a surrogate pair"),
        ("A\n", ".env", "no `=`"),
        ("A=1\n", ".env", "no metadata"),
    ],
)
def test_what_sops_never_writes_is_refused(text, ending, reason):
    with pytest.raises(SopsError, match=reason):
        parse(text, ending)
