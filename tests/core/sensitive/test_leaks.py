"""The values of secrets are found in any content, in every encoding, and nothing else is reported."""

import base64
import html
import json
import re
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.sensitive.leaks import Leak, LeakDetector, find_public_variables, known_key_formats
from lessee.core.sensitive.names import SecretField

PLACE = SecretField("secret/testing/api-keys/openrouter", "api_key")
VALUE = 'not/real+"key"=ü 1'


WRITERS = {
    "raw": str.encode,
    "JSON": lambda text: json.dumps(text).encode(),
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False).encode(),
    "JSON in a page": lambda text: json.dumps(text).replace("<", "\\u003c").encode(),
    "a source map": lambda text: json.dumps({"sourcesContent": [f"const key = {json.dumps(text)};"]}).encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "a source map in a comment": lambda text: base64.b64encode(json.dumps({"s": [text]}).encode()),
    "a source map in UTF-8": lambda text: base64.b64encode(json.dumps({"s": [text]}, ensure_ascii=False).encode()),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "a URL": lambda text: quote(text, safe="").encode(),
    "a URL in lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")).encode(),
    "a path": lambda text: quote(text).encode(),
    "a form": lambda text: urlencode({"key": text}).encode(),
    "HTML": lambda text: html.escape(text).encode(),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("before", range(9))
def test_a_value_is_found_at_every_offset_in_every_encoding(writer, before):
    content = b"." * before + writer(VALUE) + b"tail"
    assert LeakDetector([(PLACE, VALUE)]).find(content) == {PLACE}


@pytest.mark.no_cover
@pytest.mark.parametrize("size", range(8, 20))
@pytest.mark.parametrize("before", range(9))
def test_a_value_of_any_length_is_found_in_the_middle_of_base64(size, before):
    value = "canary-0f3a8c1e9d7b"[:size]
    content = base64.b64encode(b"." * before + value.encode() + b"tail")
    [leak] = LeakDetector([(PLACE, value)]).search(b"/" * before + content)
    assert (leak.field, leak.encoding) == (PLACE, "in base64")


@pytest.mark.no_cover
@given(st.text(min_size=8, max_size=24).filter(lambda text: len(text.strip()) >= 8), st.sampled_from([*WRITERS]))
def test_any_value_is_found_in_every_encoding(value, writer):
    value = value.strip()
    assert LeakDetector([(PLACE, value)]).find(b"x" + WRITERS[writer](value) + b"y") == {PLACE}


def test_a_leak_has_a_byte_offset_and_an_encoding():
    content = b"..." + VALUE.encode() + b"..." + VALUE.encode().hex().encode()
    size = len(VALUE.encode())
    assert sorted(LeakDetector([(PLACE, VALUE)]).search(content)) == [
        Leak(3, PLACE, "as it is"),
        Leak(6 + size, PLACE, "in hex"),
    ]


def test_values_are_counted_and_may_contain_half_a_surrogate_pair():
    odd = "half a pair \ud800"
    detector = LeakDetector([(PLACE, odd), (SecretField("b", "k"), VALUE), (PLACE, "short")])
    assert (detector.count, detector.short) == (2, 1)
    raw = odd.encode(errors="surrogatepass")
    for content in (raw, raw.hex().encode(), base64.b64encode(raw)):
        assert detector.find(content) == {PLACE}


def test_values_with_a_common_prefix_are_found_separately():
    one, other = SecretField("a", "k"), SecretField("b", "k")
    detector = LeakDetector([(one, "beginning-one"), (other, "beginning-two")])
    assert detector.find(b"beginning-two") == {other}
    assert detector.find(b"beginning-one beginning-two") == {one, other}
    assert detector.find(b"beginning-three") == frozenset()


def test_both_fields_of_one_value_are_reported():
    one, other = SecretField("a", "k"), SecretField("b", "k")
    assert LeakDetector([(one, "the-same-value"), (other, "the-same-value ")]).find(b"the-same-value") == {one, other}


def test_short_values_are_ignored():
    detector = LeakDetector([(PLACE, "seven77")])
    assert detector.find(b"seven77") == frozenset()
    assert (detector.count, detector.short, detector.longest) == (0, 1, 0)


@given(st.binary(max_size=40), st.text(min_size=8, max_size=20).filter(lambda text: len(text.strip()) >= 8))
def test_only_values_in_the_content_are_found(content, value):
    detector = LeakDetector([(PLACE, value)])
    raw = value.strip().encode(errors="surrogatepass")
    assert detector.find(content + raw + content) == {PLACE}
    if detector.find(content):
        assert any(form in content for form in detector._forms)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'k="sk-or-v1-0f3a8c1e9d7b5a2c4e6f8091"', "an API key (sk-…)"),
        (b"AKIAIOSFODNN7EXAMPLE", "an AWS access key (AKIA…)"),
        (b"ghp_" + b"a1" * 18, "a GitHub token (ghp_…)"),
        (b"glpat-" + b"a1" * 10, "a GitLab token (glpat-…)"),
        (b"xoxb-1234567890-abc", "a Slack token (xox…)"),
        (b"hf_" + b"aB" * 15, "a Hugging Face token (hf_…)"),
        (b"hvs." + b"aB" * 12, "a Vault token (hvs.…)"),
        (b"-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        (b"-----BEGIN PRIVATE KEY-----", "a private key"),
    ],
)
def test_keys_in_well_known_formats_are_found(content, kind):
    assert list(known_key_formats(b"x " + content + b" y")) == [kind]


def test_a_text_that_only_resembles_a_key_is_not_reported():
    assert not list(known_key_formats(b"task-list sk-short -----BEGIN CERTIFICATE----- AKIA123"))


def test_public_variables_are_found_with_the_text_of_their_values():
    text = "A=1\nVITE_B='x\n y'\n  export VITE_C = z # c\nB_VITE_D=1\nVITE_E="
    assert list(find_public_variables(text, ["VITE_"])) == [
        ("VITE_B", "'x\n y'\n"),
        ("VITE_C", " z # c\n"),
        ("VITE_E", ""),
    ]
    assert list(find_public_variables("", ["VITE_"])) == []
