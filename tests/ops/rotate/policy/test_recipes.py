"""A recipe is read strictly, and all that is wrong with it is told by line."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.rotate.policy.recipes import parse

WHOLE = """\
create:
  url: "{secret.base_url}/keys"
  headers: {Authorization: "Bearer {admin.api_key}"}
  body: '{"name": "{label}"}'
  take: {api_key: $.key}
  handle: $.id
list:
  url: https://api.example/keys
  items: $.data[*]
  label: $.name
  handle: $.id
prove:
  url: https://api.example/me
  headers: {Authorization: "Bearer {key.api_key}"}
revoke:
  method: DELETE
  url: https://api.example/keys/{handle}
"""


def faults(text, *, whole=True):
    with pytest.raises(ConfigError) as caught:
        parse(text, source="own.yaml", whole=whole)
    return str(caught.value).splitlines()


def test_a_recipe_says_what_to_send_and_what_comes_back():
    recipe = parse(WHOLE, source="own.yaml", whole=True)
    assert list(recipe.requests) == ["create", "list", "prove", "revoke"]
    assert recipe.places("admin") == {"api_key"}
    assert recipe.create.body == {"name": "{label}"}
    assert recipe.create.method == "POST"
    assert recipe.create.take["api_key"].findall({"key": "k"}) == ["k"]
    assert recipe.prove.refused == (401, 403)
    assert recipe.create.succeeds(299)
    assert not recipe.create.succeeds(300)


def test_the_statuses_that_are_expected_are_those_that_are_said():
    recipe = parse(WHOLE.replace("take:", "expect: [201]\n  take:"), source="own.yaml", whole=True)
    assert recipe.create.succeeds(201)
    assert not recipe.create.succeeds(200)


def test_a_recipe_may_do_without_a_list():
    recipe = parse(WHOLE[: WHOLE.index("list:")] + WHOLE[WHOLE.index("prove:") :], source="own.yaml", whole=True)
    assert recipe.to_prove.requests == {"prove": recipe.prove}


def test_to_prove_alone_a_recipe_needs_no_more_than_that():
    recipe = parse("prove: {url: https://api.example/me}", source="own.yaml", whole=False)
    assert list(recipe.requests) == ["prove"]
    assert faults("insecure: true", whole=False) == [
        "own.yaml:1: prove: missing; expected a mapping; without it no key can be rotated"
    ]


def test_what_is_missing_is_told_at_once():
    assert [fault.split(";")[0] for fault in faults("insecure: true")] == [
        "own.yaml:1: create: missing",
        "own.yaml:1: prove: missing",
        "own.yaml:1: revoke: missing",
    ]


@pytest.mark.parametrize(
    ("here", "instead", "fault"),
    [
        ("revoke:", "revok:", "own.yaml:15: revok: unknown key; did you mean `revoke`?"),
        (
            "https://api.example/me",
            "ftp://api.example",
            "own.yaml:13: prove.url: expected a URL that begins with `https://`, `http://` or `{…}`, without a user",
        ),
        (
            "https://api.example/me",
            "https://user@api.example",
            "own.yaml:13: prove.url: expected a URL that begins with `https://`, `http://` or `{…}`, without a user",
        ),
        ('\'{"name": ', "'{name: ", "own.yaml:4: create.body: expected a text in JSON, quoted, which this is not"),
        (
            "$.key",
            "$..",
            "own.yaml:5: create.take.api_key: expected a JSONPath such as `$.data.id`, of RFC 9535, which this is not",
        ),
        (
            "{api_key: $.key}",
            "{}",
            "own.yaml:5: create.take: it takes nothing from the answer; say which key of the secret is where",
        ),
        (
            "/{handle}",
            "/{handel}",
            "own.yaml:15: revoke: {handel} is not known here; there are {admin.…}, {handle}, {key.…}, {secret.…}",
        ),
        (
            "{admin.api_key}",
            "{admin}",
            "own.yaml:1: create: {admin} is not known here; there are {admin.…}, {id}, {label}, {secret.…}",
        ),
        (
            "/keys/{handle}",
            "/keys/{handle}/{key.other}",
            "own.yaml:15: revoke: {key.other} is not among `take`; it is known only of what is taken from the answer",
        ),
        (
            '"{label}"',
            '"x"',
            (
                "own.yaml:1: create: nothing in it is {label}, by which `list` finds what a killed try left; "
                "put {label} into the new key's name"
            ),
        ),
        (
            "  handle: $.id\nlist",
            "list",
            (
                "own.yaml:1: create.handle: missing, and revoke wants {handle}; "
                "say where the answer has what the API calls the new key"
            ),
        ),
        (
            "/{handle}",
            "?key={key.api_key}",
            "own.yaml:15: revoke: nothing in it is {handle}, which is all that `list` tells of a key; revoke by it",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_line(here, instead, fault):
    assert here in WHOLE
    assert fault in faults(WHOLE.replace(here, instead, 1))
