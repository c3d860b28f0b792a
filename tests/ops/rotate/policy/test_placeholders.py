"""No value that is put into a request gets out of its place, and no placeholder is left empty."""

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.rotate.policy.placeholders import UnfitError, in_header, in_json, in_url, names

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXTS)
def test_a_value_in_a_url_is_one_element_and_one_argument(value):
    try:
        url = in_url("https://api.example/keys/{handle}/x?name={handle}&more=1", {"handle": value})
    except UnfitError:
        assert value in {".", ".."}
        return
    parts = urlsplit(url)
    assert (parts.netloc, parts.fragment) == ("api.example", "")
    assert [unquote(element) for element in parts.path.split("/")] == ["", "keys", value, "x"]
    assert parse_qs(parts.query, keep_blank_values=True) == {"name": [value], "more": ["1"]}


@given(TEXTS)
def test_a_value_in_json_stays_a_text(value):
    document = in_json({"name": "a {label}", "of": ["{label}", 3, None, True]}, {"label": value})
    assert json.loads(json.dumps(document)) == {"name": f"a {value}", "of": [value, 3, None, True]}


@given(TEXTS)
def test_a_value_in_a_header_is_all_there_is_of_it(value):
    try:
        assert in_header("Bearer {admin.key}", {"admin.key": value}) == f"Bearer {value}"
    except UnfitError:
        assert not (value.isascii() and value.isprintable())
    else:
        assert value.isascii()
        assert value.isprintable()


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0", "ä"])
def test_a_value_that_would_begin_another_header_is_refused_and_not_shown(value):
    with pytest.raises(UnfitError, match=r"^\{admin\.key\} holds characters that no header can hold$"):
        in_header("Bearer {admin.key}", {"admin.key": value})


def test_what_a_url_begins_with_is_a_url_itself():
    assert in_url("{secret.base}/keys", {"secret.base": "http://127.0.0.1:8080/v1/"}) == "http://127.0.0.1:8080/v1/keys"


@pytest.mark.parametrize(
    "value", ["file:///etc/passwd", "https://u:p@host", "https://host/a?b", "https://host/../x", "https://h#f", "host"]
)
def test_what_is_no_url_of_a_host_and_a_path_is_not_where_a_url_begins(value):
    with pytest.raises(UnfitError, match=r"^\{secret\.base\} is no URL"):
        in_url("{secret.base}/keys", {"secret.base": value})


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_that_would_make_another_url_is_refused(value):
    with pytest.raises(UnfitError, match="would make another URL"):
        in_url("https://api.example/keys/{handle}", {"handle": value})


def test_a_value_alone_in_json_keeps_its_type():
    assert in_json({"project": "{secret.id}", "text": "n{secret.id}"}, {"secret.id": 7}) == {"project": 7, "text": "n7"}


@pytest.mark.parametrize("known", [{}, {"handle": None}])
def test_what_is_not_there_is_refused(known):
    with pytest.raises(UnfitError, match=r"^there is no \{handle\}$"):
        in_url("https://api.example/{handle}", known)


def test_braces_of_json_and_of_code_are_no_placeholders():
    assert list(names(['{"a": {label}}', {"b": "{admin.api_key} { x } {A} {}"}, 3])) == ["label", "admin.api_key"]
