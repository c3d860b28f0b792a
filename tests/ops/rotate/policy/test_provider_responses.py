"""A provider's response is used only where it matches the recipe."""

import pytest

from lessee.ops.rotate.policy.provider_responses import (
    ListedKey,
    UnexpectedResponseError,
    bound_handle,
    handle_of,
    listed_keys,
    matching_key,
    new_key,
    next_cursor,
)
from lessee.ops.rotate.policy.recipes import parse

RECIPE = parse(
    """\
create: {url: https://api.example, body: '{"name": "{label}"}', fields: {api_key: $.key, id: $.id}, handle: $.data.id}
list:
  url: https://api.example
  items: $.data[*]
  label: $.name
  handle: $.id
  masked_key: $.masked
  pagination: {parameter: after, cursor: $.last}
verify: {url: https://api.example}
revoke: {url: "https://api.example/{handle}"}
""",
    source="own.yaml",
    whole=True,
)


def test_the_new_key_and_its_handle_are_read():
    answer = {"key": "k-1", "id": "i-1", "data": {"id": 12}}
    assert new_key(RECIPE.create, answer) == ({"api_key": "k-1", "id": "i-1"}, "12")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, r"no text at `fields\.api_key`"),
        ({}, r"no text at `fields\.api_key`"),
        ({"key": ""}, r"no text at `fields\.api_key`"),
        ({"key": "k", "id": 7}, r"no text at `fields\.id`"),
        ({"key": "k", "id": "i"}, "no name or number at `handle`"),
        ({"key": "k", "id": "i", "data": {"id": True}}, "no name or number at `handle`"),
        ({"key": "k", "id": "i", "data": {"id": "a b"}}, "no name or number at `handle`"),
        ({"key": "k", "id": "i", "data": {"id": "x" * 513}}, "no name or number at `handle`"),
    ],
)
def test_an_unexpected_response_is_rejected(answer, what):
    with pytest.raises(UnexpectedResponseError, match=what):
        new_key(RECIPE.create, answer)


def test_a_list_has_labels_and_masked_keys():
    page = {"data": [{"id": "a", "name": "n", "masked": "sk-...1234"}, {"id": "b", "name": None, "masked": 4}]}
    assert listed_keys(RECIPE.list, page) == [ListedKey("a", "n", "sk-...1234"), ListedKey("b", "")]
    with pytest.raises(UnexpectedResponseError, match="not a JSON object or list"):
        listed_keys(RECIPE.list, None)
    with pytest.raises(UnexpectedResponseError, match="at `handle`"):
        listed_keys(RECIPE.list, {"data": ["x"]})


def test_the_next_page_is_requested_by_cursor_or_by_count():
    assert next_cursor(RECIPE.list.pagination, {"last": "b"}, 3) == "b"
    assert next_cursor(RECIPE.list.pagination, {"last": None}, 3) == ""
    assert next_cursor(RECIPE.list.pagination, {}, 3) == ""
    counting = parse(
        "list: {url: https://a.example, items: $, label: $.n, handle: $.id, pagination: {parameter: offset}}\n"
        "verify: {url: https://a.example}",
        source="own.yaml",
        whole=False,
    )
    assert next_cursor(counting.list.pagination, {}, 3) == "3"
    bare = parse(
        "list: {url: https://a.example, items: '$[*]', label: $.n, handle: $.id}\nverify: {url: https://a.example}",
        source="own.yaml",
        whole=False,
    )
    assert listed_keys(bare.list, [{"id": 4, "n": "x"}]) == [ListedKey("4", "x")]


@pytest.mark.parametrize(
    "hint", ["sk-...7890", "sk-v1-12...567890", "sk-v1-…7890", "sk-v1-****7890", "sk-v1-••••7890", "...7890"]
)
def test_a_key_is_found_by_its_masked_form(hint):
    keys = [ListedKey("a", "", "sk-v1-12...000000"), ListedKey("b", "", hint), ListedKey("c", "")]
    assert matching_key(keys, "sk-v1-1234567890").handle == "b"


@pytest.mark.parametrize(
    "hints",
    [
        ["sk-v1-12...890"],  # three characters may be equal by chance
        ["sk-v1-12...7890", "sk-...567890"],  # two that match
        ["sk-v1-1234567890"],  # not masked
        ["a ... b ... 7890"],
        ["sk-v1-1234567...1234567890"],  # longer than the key
        [""],
        [],
    ],
)
def test_an_ambiguous_masked_key_matches_nothing(hints):
    assert matching_key([ListedKey(str(n), "", hint) for n, hint in enumerate(hints)], "sk-v1-1234567890") is None


def test_a_handle_belongs_only_to_the_key_it_was_recorded_with():
    bound = bound_handle("key_1", {"api_key": "the-first"})
    assert "the-first" not in bound
    assert handle_of(bound, {"api_key": "the-first", "base_url": "x"}, {"api_key"}) == "key_1"
    assert handle_of(bound, {"api_key": "another"}, {"api_key"}) == ""
    assert handle_of(bound, {}, {"api_key"}) == ""
    odd = {"api_key": "half a pair \ud800"}
    assert handle_of(bound_handle("key_1", odd), odd, {"api_key"}) == "key_1"
    assert bound_handle("", {"api_key": "the-first"}) == ""
