"""What a provider answers is taken only where it is what the recipe says."""

import pytest

from lessee.ops.rotate.policy.provider_responses import (
    Listed,
    UnusableError,
    following,
    handle_of,
    hinted,
    listed,
    signed,
    taken,
)
from lessee.ops.rotate.policy.recipes import parse

RECIPE = parse(
    """\
create: {url: https://api.example, body: '{"name": "{label}"}', take: {api_key: $.key, id: $.id}, handle: $.data.id}
list:
  url: https://api.example
  items: $.data[*]
  label: $.name
  handle: $.id
  hint: $.masked
  pages: {argument: after, after: $.last}
prove: {url: https://api.example}
revoke: {url: "https://api.example/{handle}"}
""",
    source="own.yaml",
    whole=True,
)


def test_the_new_key_and_its_handle_are_taken():
    answer = {"key": "k-1", "id": "i-1", "data": {"id": 12}}
    assert taken(RECIPE.create, answer) == ({"api_key": "k-1", "id": "i-1"}, "12")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, r"there is no text at `take\.api_key`"),
        ({}, r"there is no text at `take\.api_key`"),
        ({"key": ""}, r"there is no text at `take\.api_key`"),
        ({"key": "k", "id": 7}, r"there is no text at `take\.id`"),
        ({"key": "k", "id": "i"}, "no name or number at `handle`"),
        ({"key": "k", "id": "i", "data": {"id": True}}, "no name or number at `handle`"),
        ({"key": "k", "id": "i", "data": {"id": "a b"}}, "no name or number at `handle`"),
        ({"key": "k", "id": "i", "data": {"id": "x" * 513}}, "no name or number at `handle`"),
    ],
)
def test_an_answer_that_is_not_as_expected_is_refused(answer, what):
    with pytest.raises(UnusableError, match=what):
        taken(RECIPE.create, answer)


def test_a_list_shows_labels_and_hints():
    page = {"data": [{"id": "a", "name": "n", "masked": "sk-...1234"}, {"id": "b", "name": None, "masked": 4}]}
    assert listed(RECIPE.list, page) == [Listed("a", "n", "sk-...1234"), Listed("b", "")]
    with pytest.raises(UnusableError, match="no JSON object or list"):
        listed(RECIPE.list, None)
    with pytest.raises(UnusableError, match="at `handle`"):
        listed(RECIPE.list, {"data": ["x"]})


def test_the_next_page_is_asked_for_by_what_this_one_says_or_by_the_number_of_keys():
    assert following(RECIPE.list.pages, {"last": "b"}, 3) == "b"
    assert following(RECIPE.list.pages, {"last": None}, 3) == ""
    assert following(RECIPE.list.pages, {}, 3) == ""
    counting = parse(
        "list: {url: https://a.example, items: $, label: $.n, handle: $.id, pages: {argument: offset}}\n"
        "prove: {url: https://a.example}",
        source="own.yaml",
        whole=False,
    )
    assert following(counting.list.pages, {}, 3) == "3"
    bare = parse(
        "list: {url: https://a.example, items: '$[*]', label: $.n, handle: $.id}\nprove: {url: https://a.example}",
        source="own.yaml",
        whole=False,
    )
    assert listed(bare.list, [{"id": 4, "n": "x"}]) == [Listed("4", "x")]


@pytest.mark.parametrize(
    "hint", ["sk-...7890", "sk-v1-12...567890", "sk-v1-…7890", "sk-v1-****7890", "sk-v1-••••7890", "...7890"]
)
def test_the_key_is_found_by_its_beginning_and_end(hint):
    keys = [Listed("a", "", "sk-v1-12...000000"), Listed("b", "", hint), Listed("c", "")]
    assert hinted(keys, "sk-v1-1234567890").handle == "b"


@pytest.mark.parametrize(
    "hints",
    [
        ["sk-v1-12...890"],  # three characters are alike by chance
        ["sk-v1-12...7890", "sk-...567890"],  # two that fit
        ["sk-v1-1234567890"],  # no hint at all
        ["a ... b ... 7890"],
        ["sk-v1-1234567...1234567890"],  # longer than the key
        [""],
        [],
    ],
)
def test_a_key_that_could_be_another_is_not_taken_for_it(hints):
    assert hinted([Listed(str(n), "", hint) for n, hint in enumerate(hints)], "sk-v1-1234567890") is None


def test_a_handle_is_of_the_key_it_was_noted_with_alone():
    kept = signed("key_1", {"api_key": "the-first"})
    assert "the-first" not in kept
    assert handle_of(kept, {"api_key": "the-first", "base_url": "x"}, {"api_key"}) == "key_1"
    assert handle_of(kept, {"api_key": "another"}, {"api_key"}) == ""
    assert handle_of(kept, {}, {"api_key"}) == ""
    assert signed("", {"api_key": "the-first"}) == ""
