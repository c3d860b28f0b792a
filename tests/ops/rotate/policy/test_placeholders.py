"""A value in a request cannot change the structure around it, and no placeholder stays empty."""

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.rotate.policy.placeholders import PlaceholderError, in_header, in_json, in_url, names

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXTS)
def test_a_value_in_a_url_is_one_path_segment_or_argument(value):
    try:
        url = in_url("https://api.example/keys/{handle}/x?name={handle}&more=1", {"handle": value})
    except PlaceholderError:
        assert value in {".", ".."}
        return
    parts = urlsplit(url)
    assert (parts.netloc, parts.fragment) == ("api.example", "")
    assert [unquote(element) for element in parts.path.split("/")] == ["", "keys", value, "x"]
    assert parse_qs(parts.query, keep_blank_values=True) == {"name": [value], "more": ["1"]}


@given(TEXTS)
def test_a_value_in_json_stays_a_string(value):
    document = in_json({"name": "a {label}", "of": ["{label}", 3, None, True]}, {"label": value})
    assert json.loads(json.dumps(document)) == {"name": f"a {value}", "of": [value, 3, None, True]}


@given(TEXTS)
def test_a_value_in_a_header_starts_no_other_header(value):
    try:
        assert in_header("Bearer {admin.key}", {"admin.key": value}) == f"Bearer {value}"
    except PlaceholderError:
        assert not (value.isascii() and value.isprintable())
    else:
        assert value.isascii()
        assert value.isprintable()


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0", "ä"])
def test_a_value_with_a_line_break_is_rejected_and_not_printed(value):
    with pytest.raises(PlaceholderError, match=r"^\{admin\.key\} has characters that are not allowed in a header$"):
        in_header("Bearer {admin.key}", {"admin.key": value})


def test_a_placeholder_at_the_beginning_of_a_url_is_a_base_url():
    assert in_url("{secret.base}/keys", {"secret.base": "http://127.0.0.1:8080/v1/"}) == "http://127.0.0.1:8080/v1/keys"


@pytest.mark.parametrize(
    "value", ["file:///etc/passwd", "https://u:p@host", "https://host/a?b", "https://host/../x", "https://h#f", "host"]
)
def test_a_base_url_has_only_a_host_and_a_path(value):
    with pytest.raises(PlaceholderError, match=r"^\{secret\.base\} is not a URL"):
        in_url("{secret.base}/keys", {"secret.base": value})


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_that_changes_the_path_is_rejected(value):
    with pytest.raises(PlaceholderError, match="would change the URL's path"):
        in_url("https://api.example/keys/{handle}", {"handle": value})


def test_a_whole_json_value_keeps_its_type():
    assert in_json({"project": "{secret.id}", "text": "n{secret.id}"}, {"secret.id": 7}) == {"project": 7, "text": "n7"}


@pytest.mark.parametrize("known", [{}, {"handle": None}])
def test_a_placeholder_without_a_value_is_rejected(known):
    with pytest.raises(PlaceholderError, match=r"^\{handle\} has no value$"):
        in_url("https://api.example/{handle}", known)


def test_braces_of_json_and_code_are_not_placeholders():
    assert list(names(['{"a": {label}}', {"b": "{admin.api_key} { x } {A} {}"}, 3])) == ["label", "admin.api_key"]
