"""A secret in a template knows its path and never prints its value."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.secrets import (
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_SIZE,
    Secret,
    SecretValueError,
    SecretView,
    Value,
    excess,
    view,
)

CANARY = "HUNTER2-c4n4ry"


def nested(levels):
    """A secret with a list in a list, and so on."""
    inner = "x"
    for _ in range(levels - 1):
        inner = [inner]
    return {"a": inner}


def test_the_repr_of_a_secret_omits_its_fields():
    assert CANARY not in repr(Secret({"password": CANARY}))
    assert CANARY not in repr(SecretView("a", {"password": CANARY}))


def test_a_secret_used_as_text_is_an_error_with_a_way_out():
    with pytest.raises(SecretValueError) as caught:
        str(SecretView("database/postgres", {"password": CANARY}))
    message = caught.value.message(frozenset())
    assert (message, caught.value.todo) == (
        "database/postgres is a mapping, not text",
        "name one of its keys, or add `| json`",
    )


def test_each_part_knows_its_path():
    secret = SecretView("a", {"x": {"y": ["z", {"w": "v"}]}})
    assert secret["x"].path == "a: x"
    assert secret["x"]["y"][0].origin == "a: x: y[0]"
    assert secret["x"]["y"][1]["w"].origin == "a: x: y[1]: w"


def test_a_view_of_a_view_keeps_its_path():
    inner = SecretView("api-keys/stripe", {"key": "k"})
    assert SecretView("api-keys/", {"stripe": inner})["stripe"] is inner


def test_any_mapping_becomes_a_view():
    assert view("a", MappingProxyType({"x": "y"}))["x"].origin == "a: x"


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_value)
def test_a_view_equals_what_it_views(data):
    assert view("a", data) == data


@pytest.mark.no_cover
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


def test_an_error_prints_only_words_of_the_template():
    error = SecretValueError("a has no such key", word=CANARY, more="; there is: b")
    assert error.message(frozenset({"b"})) == "a has no such key: a computed one; there is: b"
    assert error.message(frozenset({CANARY})) == f"a has no such key: '{CANARY}'; there is: b"
    assert CANARY not in str(error)
    assert SecretValueError("no key", word=[CANARY]).message(frozenset({CANARY})) == "no key: a computed one"
    assert SecretValueError("no word").message(frozenset()) == "no word"


def test_a_secret_within_the_bounds_has_no_excess():
    assert excess({}) is None
    assert excess({"a": "x" * (MAX_SIZE - 1)}) is None
    assert excess({str(number): number for number in range(MAX_ITEMS)}) is None
    assert excess(nested(MAX_DEPTH - 1)) is None
    assert excess({"a": [{"b": ["c", 1, None, True]}]}) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"a": "x" * MAX_SIZE}, "it has more than 8 MiB"),
        ({"x" * MAX_SIZE: "a"}, "it has more than 8 MiB"),
        ({"a": ["x" * (MAX_SIZE // 2)] * 2}, "it has more than 8 MiB"),
        ({"a": [0] * MAX_ITEMS}, "it has more than 20,000 items"),
        ({"a": {str(number): 0 for number in range(MAX_ITEMS)}}, "it has more than 20,000 items"),
        ({"a": [[0] * 1000] * 21}, "it has more than 20,000 items"),
        ({"a": [[0] * MAX_ITEMS], "b": [0]}, "it has more than 20,000 items"),
        ({"a": {"b": [0] * MAX_ITEMS}, "c": {"d": 0}}, "it has more than 20,000 items"),
        (nested(MAX_DEPTH), "it is nested more than 100 levels deep"),
        (nested(100_000), "it is nested more than 100 levels deep"),
    ],
    ids=["text", "name", "sum", "list", "mapping", "lists", "before a list", "before a mapping", "deep", "deeper"],
)
def test_what_is_too_large_in_a_secret_is_named(data, what):
    assert excess(data) == what
