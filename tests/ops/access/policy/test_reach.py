"""`reach` finds a path exactly where a policy grants access to one of the region's paths."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.access.policy.reach import READING, Reach, Region, reach
from lessee.ops.access.policy.rules import Kind, Rule, capabilities, rules_of
from support.inputs.random_policies import policies

WORDS = ("a", "b", "ab", "abb", "q", "qq")
"""`q` and `qq` are in no rule, and represent all such segments."""


def paths_of(region, deepest=5):
    for depth in range(1, deepest + 1):
        for elements in product(WORDS, repeat=depth):
            for path in ("/".join(elements), "/".join(elements) + "/"):
                if path in region:
                    yield path


REGIONS = {root: (Region(root), tuple(paths_of(Region(root)))) for root in ("a/", "a/b/", "a/b", "b/a/")}


def is_granted(rules, path):
    if not path.endswith("/"):
        return bool(capabilities(rules, path) & READING)
    return any("list" in capabilities(rules, path, bare_first=bare_first) for bare_first in (False, True))


@pytest.mark.long
@given(policies(), st.sampled_from(sorted(REGIONS)))
def test_reach_finds_a_path_exactly_where_one_of_the_region_is_granted(text, root):
    region, tried = REGIONS[root]
    rules = rules_of(text, "policy")
    found = reach(rules, [region])
    assert (found is not None) == any(is_granted(rules, path) for path in tried), (text, found)
    if found is not None:
        assert found.path in region
        assert is_granted(rules, found.path)


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ('path "secret/data/production/*" { capabilities = ["read"] }', True),
        ('path "secret/data/pro*" { capabilities = ["read"] }', True),
        ('path "secret/+/production/db" { capabilities = ["update"] }', True),
        ('path "secret/data/+/db" { capabilities = ["read"] }', True),
        ('path "*" { capabilities = ["sudo", "read"] }', True),
        ('path "secret/data/production" { capabilities = ["list"] }', True),
        ('path "secret/data/production" { capabilities = ["read"] }', False),
        ('path "secret/data/production/*" { capabilities = ["delete"] }', False),
        ('path "secret/data/productions/*" { capabilities = ["read"] }', False),
        ('path "secret/data/development/*" { capabilities = ["read"] }', False),
        (
            'path "secret/data/*" { capabilities = ["read"] }\npath "secret/data/production/*" { policy = "deny" }',
            False,
        ),
        ('path "secret/data/*" { policy = "read" }\npath "secret/data/production/+" { policy = "deny" }', True),
        ('path "secret/data/production/+" { policy = "read" }\npath "secret/data/+/db" { policy = "deny" }', True),
    ],
)
def test_examples(text, reached):
    assert (reach(rules_of(text, "policy"), [Region("secret/data/production/")]) is not None) == reached


@pytest.mark.parametrize(
    ("path", "templated"),
    [
        ("secret/data/{{identity.entity.name}}/*", "secret/data/production/"),
        ("secret/data/production/{{identity.entity.id}}", "secret/data/production/"),
        ("secret/+/{{identity.entity.id}}", "secret/data/production/"),
        ("{{identity.entity.id}}", "secret/data/production/"),
        ("secret/metadata/{{identity.entity.name}}/*", None),
        ("identity/entity/id/{{identity.entity.id}}", None),
    ],
)
def test_a_templated_rule_counts_for_every_path_it_may_resolve_to(path, templated):
    rules = rules_of(f'path "{path}" {{ capabilities = ["read"] }}', "policy")
    found = reach(rules, [Region("secret/data/production/")])
    assert found == (None if templated is None else Reach(templated, frozenset({"read"}), templated=True))


def test_a_templated_deny_does_not_restrict_other_rules():
    text = (
        'path "secret/data/{{identity.entity.name}}/*" { capabilities = ["deny"] }\n'
        'path "secret/data/{{identity.entity.id}}/*" { capabilities = ["delete"] }\n'
    )
    region = Region("secret/data/production/")
    assert reach(rules_of(text, "policy"), [region]) is None
    assert reach(rules_of(f'{text}path "secret/*" {{ policy = "read" }}', "policy"), [region]) is not None


def test_the_fresh_segment_has_a_letter_that_no_rule_has():
    text = 'path "a/*" { policy = "read" }\npath "a/x*" { policy = "deny" }\npath "a/y*" { policy = "deny" }'
    assert reach(rules_of(text, "policy"), [Region("a/")]) is not None


def test_a_region_without_a_slash_includes_the_path_itself():
    region = Region("a/b")
    assert [path for path in ("a/b", "a/b/", "a/b/c", "a/bc", "a", "a/") if path in region] == ["a/b", "a/b/", "a/b/c"]
    rule = Rule("a/bc", Kind.PREFIX, frozenset({"read"}))
    assert reach([rule], [region]) is None
    assert reach([], [region]) is None
