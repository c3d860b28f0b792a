"""A recipe is parsed strictly, and all its problems are reported by line."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.rotate.policy.recipes import parse

WHOLE = """\
create:
  url: "{admin.base_url}/keys"
  headers: {Authorization: "Bearer {admin.api_key}"}
  body: '{"name": "{label}"}'
  fields: {api_key: $.key}
  handle: $.id
list:
  url: https://api.example/keys
  items: $.data[*]
  label: $.name
  handle: $.id
verify:
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


def test_a_recipe_has_requests_and_json_paths():
    recipe = parse(WHOLE, source="own.yaml", whole=True)
    assert list(recipe.requests) == ["create", "list", "verify", "revoke"]
    assert recipe.keys_of("admin") == {"api_key", "base_url"}
    assert recipe.create.body == {"name": "{label}"}
    assert recipe.create.method == "POST"
    assert recipe.create.fields["api_key"].findall({"key": "k"}) == ["k"]
    assert recipe.verify.rejected_status == (401, 403)
    assert recipe.create.succeeds(299)
    assert not recipe.create.succeeds(300)


def test_expected_status_replaces_the_default():
    recipe = parse(WHOLE.replace("fields:", "expected_status: [201]\n  fields:"), source="own.yaml", whole=True)
    assert recipe.create.succeeds(201)
    assert not recipe.create.succeeds(200)


def test_list_is_optional():
    recipe = parse(WHOLE[: WHOLE.index("list:")] + WHOLE[WHOLE.index("verify:") :], source="own.yaml", whole=True)
    assert recipe.verification.requests == {"verify": recipe.verify}


def test_a_recipe_for_verification_needs_only_verify():
    recipe = parse("verify: {url: https://api.example/me}", source="own.yaml", whole=False)
    assert list(recipe.requests) == ["verify"]
    assert faults("insecure: true", whole=False) == [
        "own.yaml:1: verify: missing; expected a mapping; a rotation needs this request"
    ]


def test_all_missing_requests_are_reported_together():
    assert [fault.split(";")[0] for fault in faults("insecure: true")] == [
        "own.yaml:1: create: missing",
        "own.yaml:1: verify: missing",
        "own.yaml:1: revoke: missing",
    ]


@pytest.mark.parametrize(
    ("here", "instead", "fault"),
    [
        ("revoke:", "revok:", "own.yaml:15: revok: unknown key; did you mean `revoke`?"),
        (
            "https://api.example/me",
            "ftp://api.example",
            "own.yaml:13: verify.url: expected a URL that begins with `https://`, `http://` or `{…}`, without a user",
        ),
        (
            "https://api.example/me",
            "https://user@api.example",
            "own.yaml:13: verify.url: expected a URL that begins with `https://`, `http://` or `{…}`, without a user",
        ),
        ('\'{"name": ', "'{name: ", "own.yaml:4: create.body: expected JSON in quotes"),
        (
            "$.key",
            "$..",
            "own.yaml:5: create.fields.api_key: expected a JSONPath such as `$.data.id`, valid by RFC 9535",
        ),
        (
            "{api_key: $.key}",
            "{}",
            "own.yaml:5: create.fields: empty; name the keys of the secret, with their JSONPaths in the response",
        ),
        (
            "/{handle}",
            "/{handel}",
            (
                "own.yaml:15: revoke: unknown placeholder {handel};"
                " known placeholders: {admin.…}, {handle}, {key.…}, {secret.…}"
            ),
        ),
        (
            "{admin.base_url}/keys",
            "{secret.base_url}/keys",
            (
                "own.yaml:2: create.url: {secret.base_url} would choose the server that gets {admin.…}, and others may"
                " write that secret; write the server's name, or take it from {admin.…} too"
            ),
        ),
        (
            "https://api.example/keys/{handle}",
            "'https://api.{key.api_key}:443/keys?of={admin.api_key}'",
            (
                "own.yaml:17: revoke.url: {key.api_key} would choose the server that gets {admin.…}, and others may"
                " write that secret; write the server's name, or take it from {admin.…} too"
            ),
        ),
        (
            "verify:\n  url: https://api.example/me",
            "  masked_key: $.masked\nverify:\n  url: '{secret.base_url}/me'",
            (
                "own.yaml:14: verify.url: {secret.base_url} would choose the server that says which key is revoked;"
                " write the server's name, or take it from {admin.…}"
            ),
        ),
        (
            "revoke:",
            "find:\n  url: 'https://{key.api_key}.example/me'\n  handle: $.id\nrevoke:",
            (
                "own.yaml:16: find.url: {key.api_key} would choose the server that says which key is revoked;"
                " write the server's name, or take it from {admin.…}"
            ),
        ),
        (
            "{admin.api_key}",
            "{admin}",
            (
                "own.yaml:1: create: unknown placeholder {admin};"
                " known placeholders: {admin.…}, {id}, {label}, {secret.…}"
            ),
        ),
        (
            "/keys/{handle}",
            "/keys/{handle}/{key.other}",
            (
                "own.yaml:15: revoke: unknown placeholder {key.other}:"
                " `create.fields` has no other; use a key of `create.fields`"
            ),
        ),
        (
            '"{label}"',
            '"x"',
            (
                "own.yaml:1: create: no {label} in the request; "
                "put {label} into the new key's name, so that `list` finds the key of an interrupted attempt"
            ),
        ),
        (
            "  handle: $.id\nlist",
            "list",
            (
                "own.yaml:1: create.handle: missing; `revoke` uses {handle}; "
                "set it to the JSONPath of the new key's id in the response"
            ),
        ),
        (
            "/{handle}",
            "?key={key.api_key}",
            (
                "own.yaml:15: revoke: no {handle} in the request;"
                " use {handle}, the only thing that `list` returns of a key"
            ),
        ),
    ],
)
def test_problems_are_reported_by_line(here, instead, fault):
    assert here in WHOLE
    assert fault in faults(WHOLE.replace(here, instead, 1))
