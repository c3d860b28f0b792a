"""A value of the environment is found wherever it stands, in every form, and what is no trace is left alone."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.validation.fields import Place
from lessee.core.validation.traces import Traces, makes, public_variables

PLACE = Place("secret/testing/api-keys/openrouter", "api_key")
VALUE = 'not/real+"key"=ü 1'


@pytest.mark.parametrize(
    "form",
    [VALUE, base64.b64encode(VALUE.encode()).decode(), quote(VALUE, safe=""), json.dumps(VALUE)[1:-1],
     json.dumps(VALUE, ensure_ascii=False)[1:-1]],
)  # fmt: skip
@pytest.mark.parametrize("before", range(9))
def test_a_value_is_found_at_every_offset_in_every_form(form, before):
    content = b"." * before + form.encode() + b"tail"
    assert Traces([(PLACE, VALUE)]).find(content) == {PLACE}


def test_of_values_that_begin_alike_each_is_found_for_itself():
    one, other = Place("a", "k"), Place("b", "k")
    traces = Traces([(one, "beginning-one"), (other, "beginning-two")])
    assert traces.find(b"beginning-two") == {other}
    assert traces.find(b"beginning-one beginning-two") == {one, other}
    assert traces.find(b"beginning-three") == frozenset()


def test_two_places_of_one_value_are_both_told():
    one, other = Place("a", "k"), Place("b", "k")
    assert Traces([(one, "the-same-value"), (other, "the-same-value ")]).find(b"the-same-value") == {one, other}


def test_short_values_are_not_looked_for():
    traces = Traces([(PLACE, "seven77")])
    assert traces.find(b"seven77") == frozenset()
    assert traces.of("seven77") == frozenset()


def test_a_whole_value_is_known_in_every_form():
    traces = Traces([(PLACE, VALUE)])
    assert traces.of(f" {VALUE}\n") == {PLACE}
    assert traces.of(base64.b64encode(VALUE.encode()).decode()) == {PLACE}
    assert traces.of(VALUE + "x") == frozenset()


@given(st.binary(max_size=40), st.text(min_size=8, max_size=20).filter(lambda text: len(text.strip()) >= 8))
def test_what_is_in_a_content_is_found_and_nothing_else(content, value):
    traces = Traces([(PLACE, value)])
    raw = value.strip().encode(errors="surrogatepass")
    assert traces.find(content + raw + content) == {PLACE}
    if traces.find(content):
        assert any(form in content for form in traces._places)


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
def test_keys_of_well_known_makes_are_found(content, kind):
    assert list(makes(b"x " + content + b" y")) == [kind]


def test_what_only_looks_a_little_like_a_key_is_none():
    assert not list(makes(b"task-list sk-short -----BEGIN CERTIFICATE----- AKIA123"))


def test_public_variables_are_told_with_all_that_is_said_of_them():
    text = "A=1\nVITE_B='x\n y'\n  export VITE_C = z # c\nB_VITE_D=1\nVITE_E="
    assert list(public_variables(text, ["VITE_"])) == [("VITE_B", "'x\n y'\n"), ("VITE_C", " z # c\n"), ("VITE_E", "")]
    assert list(public_variables("", ["VITE_"])) == []
