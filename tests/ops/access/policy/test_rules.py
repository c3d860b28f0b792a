"""Policies are parsed and evaluated as Vault does; tests/e2e compares with a real server."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.access.policy.rules import Kind, Rule, capabilities, rules_of


def rules(**granted):
    """Rules by path; pass paths with `**`."""
    text = "\n".join(f'path "{path}" {{ capabilities = [{names}] }}' for path, names in granted.items())
    return rules_of(text, "policy")


def of(paths):
    quoted = {path: ", ".join(f'"{name}"' for name in names.split()) for path, names in paths.items()}
    return rules(**quoted)


@pytest.mark.parametrize(
    "text",
    [
        'path "secret/*" { capabilities = ["read", "list"] }',
        'path "/secret/*" { policy = "read" }',
        '# c\npath "secret/*" {\n  comment = "x"\n  capabilities = ["list", "read"]\n  min_wrapping_ttl = 5\n}',
        '{"path": {"secret/*": {"capabilities": ["read", "list"]}}}',
        '{"path": [{"secret/*": {"policy": "read"}}]}',
        '{"name": "x", "path": [{"secret/*": [{"capabilities": ["read", "list"]}]}]}',
    ],
)
def test_all_spellings_of_a_rule_are_parsed(text):
    assert rules_of(text, "policy") == (Rule("secret/", Kind.PREFIX, frozenset({"read", "list"})),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("deny", {"deny"}),
        ("read", {"read", "list"}),
        ("write", {"create", "read", "update", "delete", "list"}),
        ("sudo", {"create", "read", "update", "delete", "list", "sudo"}),
        ("unheard-of", set()),
    ],
)
def test_deprecated_policy_words_are_expanded(old, new):
    assert rules_of(f'path "a" {{ policy = "{old}" }}', "policy") == (Rule("a", Kind.EXACT, frozenset(new)),)


def test_items_without_capabilities_are_ignored():
    text = '{"path": [{"a": "b"}, "c", {"d": {"capabilities": ["read", 5]}}], "name": "x"}'
    assert rules_of(text, "policy") == (Rule("d", Kind.EXACT, frozenset({"read"})),)
    assert rules_of("", "policy") == ()
    assert rules_of('path "a" { }', "policy") == (Rule("a", Kind.EXACT, frozenset()),)


def test_a_malformed_policy_is_an_error_with_its_name():
    with pytest.raises(ConfigError, match=r"^mine:1: "):
        rules_of('path "a" {', "mine")


def test_a_templated_path_ends_before_the_template():
    text = 'path "secret/{{identity.entity.name}}/+/x" { capabilities = ["read"] }'
    (rule,) = rules_of(text, "policy")
    assert (rule.path, rule.kind, rule.templated) == ("secret/", Kind.PREFIX, True)
    twice = 'path "secret/{{identity.entity.name}}/x/{{identity.entity.id}}" { capabilities = ["read"] }'
    (rule,) = rules_of(twice, "policy")
    assert (rule.path, rule.kind, rule.templated) == ("secret/", Kind.PREFIX, True)
    (rule,) = rules_of(text.replace("secret/", "+/"), "policy")
    assert (rule.path, rule.kind, rule.templated) == ("+/", Kind.ELEMENTS, True)
    assert capabilities([rule], "a/b") == frozenset()


@pytest.mark.parametrize(
    ("paths", "path", "granted"),
    [
        ({"a/b": "read"}, "a/b", "read"),
        ({"a/b": "read"}, "a/b/c", ""),
        ({"a/b": "list"}, "a/b/", "list"),
        ({"a/b/": "list"}, "a/b", ""),
        ({"a/*": "read"}, "a/", "read"),
        ({"a/*": "read"}, "a", ""),
        ({"a*": "read"}, "abc/d", "read"),
        ({"*": "read"}, "any/thing", "read"),
        ({"+": "read"}, "a", "read"),
        ({"+": "read"}, "a/b", ""),
        ({"a/+": "list"}, "a/b/", "list"),
        ({"a/+/c": "read"}, "a/b/c", "read"),
        ({"a/+/c": "read"}, "a/b/d", ""),
        ({"a/+/c*": "read"}, "a/b/cd/e", "read"),
        ({"a/+/c*": "read"}, "b/b/cd/e", ""),
        ({"a/+/*": "read"}, "a/b", ""),
        ({"a/+/*": "read"}, "a/b/c/d", "read"),
        ({"a/+b": "read"}, "a/xb", ""),
        ({"a/+b": "read"}, "a/+b", "read"),
        # The exact rule wins, then the one with the later first wildcard.
        ({"a/*": "read", "a/b": "deny"}, "a/b", ""),
        ({"a/*": "deny", "a/b": "read"}, "a/b", "read"),
        ({"a/*": "deny", "a/b/*": "read"}, "a/b/c", "read"),
        ({"a/+/c": "deny", "a/b/*": "read"}, "a/b/c", "read"),
        ({"a/+/c": "read", "a/*": "deny"}, "a/b/c", "read"),
        ({"a/+/*": "deny", "a/+/c": "read"}, "a/b/c", "read"),
        ({"a/+/+": "deny", "a/+/c": "read"}, "a/b/c", "read"),
        ({"a/+/+/*": "read", "a/+/c*": "deny"}, "a/b/c/d", ""),
        ({"a/+/c*": "read", "a/+/cd*": "deny"}, "a/b/cde", ""),
        # A listing is first evaluated with its slash.
        ({"a/+": "list", "a/b/*": "deny"}, "a/b/", ""),
    ],
)
def test_the_most_specific_rule_wins(paths, path, granted):
    assert capabilities(of(paths), path) == frozenset(granted.split())


def test_hashicorp_vault_first_tries_a_listing_without_its_slash():
    paths = of({"a/+": "list", "a/b/*": "deny"})
    assert capabilities(paths, "a/b/", bare_first=True) == {"list"}
    assert capabilities(paths, "a/b/c", bare_first=True) == frozenset()


def test_rules_of_one_path_are_merged_and_deny_wins():
    both = (*of({"a/*": "read"}), *of({"a/*": "list"}))
    assert capabilities(both, "a/b") == {"read", "list"}
    assert capabilities((*both, *of({"a/*": "deny read"})), "a/b") == frozenset()
