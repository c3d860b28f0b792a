"""A secret in a template tells where it is from, and never what it is."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.secrets import SecretValueError, Secret, SecretView, Value, view

CANARY = "HUNTER2-c4n4ry"


def test_a_secret_does_not_show_its_fields():
    assert CANARY not in repr(Secret({"password": CANARY}))
    assert CANARY not in repr(SecretView("a", {"password": CANARY}))


def test_a_secret_is_no_text_and_says_what_to_do():
    with pytest.raises(SecretValueError) as caught:
        str(SecretView("database/postgres", {"password": CANARY}))
    said = caught.value.tell(frozenset())
    assert (said, caught.value.todo) == ("database/postgres is no text", "name a key of it, or add `| json`")


def test_each_part_knows_where_it_is_from():
    secret = SecretView("a", {"x": {"y": ["z", {"w": "v"}]}})
    assert secret["x"].path == "a: x"
    assert secret["x"]["y"][0].origin == "a: x: y[0]"
    assert secret["x"]["y"][1]["w"].origin == "a: x: y[1]: w"


def test_a_view_of_a_view_keeps_its_own_path():
    inner = SecretView("api-keys/stripe", {"key": "k"})
    assert SecretView("api-keys/", {"stripe": inner})["stripe"] is inner


def test_any_mapping_is_seen_as_a_secret():
    assert view("a", MappingProxyType({"x": "y"}))["x"].origin == "a: x"


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_value)
def test_a_view_equals_what_it_views(data):
    assert view("a", data) == data


@given(st.dictionaries(st.text(), json_value))
def test_a_view_is_the_mapping(data):
    secret = SecretView("a", data)
    assert list(secret) == list(data)
    assert len(secret) == len(data)
    assert dict(secret.items()) == data


def test_a_value_is_a_string():
    value = view("a: x", CANARY)
    assert isinstance(value, Value)
    assert value == CANARY
    assert value.upper() == CANARY.upper()


def test_a_problem_repeats_only_the_authors_own_words():
    problem = SecretValueError("a has no such key", word=CANARY, more="; there is: b")
    assert problem.tell(frozenset({"b"})) == "a has no such key: a computed one; there is: b"
    assert problem.tell(frozenset({CANARY})) == f"a has no such key: '{CANARY}'; there is: b"
    assert CANARY not in str(problem)
    assert SecretValueError("no key", word=[CANARY]).tell(frozenset({CANARY})) == "no key: a computed one"
    assert SecretValueError("no word").tell(frozenset()) == "no word"
