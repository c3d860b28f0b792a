"""An adoption changes a role only where no other project and no other clone loses something."""

import pytest

from lessee.ops.access.policy.least_privilege import Rule, hcl
from lessee.ops.adopt.policy.role_owners import Owner, foreign, missing, owner_of, refusal

OWN = Owner("1a2b", "shop", "production", "77")
CLONE = Owner("3c4d", "shop", "production", "77")
BY_HAND = Owner()


def policy(*paths, capabilities=("read",)):
    return hcl(["the app"], [Rule(f"secret/data/{path}", capabilities, ("why",)) for path in paths])


def refused(logins, before, after):
    found = refusal("production-shop-web", logins, OWN, before, after)
    return str(found) if found is not None else None


@pytest.mark.parametrize("owner", [OWN, CLONE, BY_HAND])
def test_the_metadata_of_a_login_says_whose_it_is(owner):
    assert owner_of(owner.metadata) == owner


def test_a_login_without_metadata_is_nobodys():
    assert owner_of(None) == owner_of({"lessee_adoption": None, "other": 1}) == BY_HAND


@pytest.mark.parametrize("logins", [[], [OWN], [OWN, OWN]])
def test_what_only_this_adoption_uses_may_change(logins):
    assert refused(logins, policy("a"), policy("b")) is None


@pytest.mark.parametrize("other", [CLONE, BY_HAND])
def test_other_logins_may_get_more_and_not_less(other):
    assert refused([OWN, other], policy("a"), policy("b", "a")) is None
    assert refused([other], policy("a"), policy("a")) is None
    assert refused([other], None, policy("a")) is None
    assert refused([OWN, other], policy("a", "b", "c"), policy("b")) == (
        "sys/policies/acl/production-shop-web: another clone, or another program, uses this policy,"
        " and would lose secret/data/a, secret/data/c;"
        " nothing was changed; use the same files in all clones, or pass another --environment"
    )


def test_fewer_capabilities_on_a_path_are_a_loss():
    before = policy("a", capabilities=("list", "read"))
    assert "would lose secret/data/a;" in refused([CLONE], before, policy("a"))


@pytest.mark.parametrize("owner", [Owner("5e6f", "other", "production"), Owner("5e6f", "shop", "production-shop")])
def test_the_role_of_another_project_or_environment_is_refused_even_if_it_would_get_more(owner):
    assert refused([owner], policy("a"), policy("a", "b")) == (
        f"auth/approle/role/production-shop-web: project {owner.project} of environment {owner.environment}"
        " uses this role; nothing was changed; give this project another name (`name:` in the Compose file),"
        " or pass another --environment"
    )


def test_another_project_of_the_same_name_is_refused_with_what_to_do_in_a_clone():
    other = Owner("5e6f", "shop", "production", "88")
    assert refused([other], policy("a"), policy("a")) == str(foreign("production-shop-web", [other], OWN))
    assert str(foreign("production-shop-web", [CLONE, BY_HAND, other], OWN)) == (
        "auth/approle/role/production-shop-web: another project of the name shop uses this role; nothing was changed;"
        " if this is a clone of it, take over its compose.lessee.yaml and lessee/ (commit them there, and pull here),"
        " and run this command again; otherwise give this project another name (`name:` in the Compose file), or pass"
        " another --environment"
    )
    assert foreign("production-shop-web", [CLONE, BY_HAND], OWN) is None


def test_a_clone_needs_no_more_than_the_policy_grants():
    assert missing("production-shop-web", policy("a", "b"), policy("a")) is None
    assert str(missing("production-shop-web", policy("a"), policy("a", "b"))) == (
        "sys/policies/acl/production-shop-web: this clone's files need more than this policy grants: secret/data/b;"
        " nothing was changed; see who changed lessee/; who adopted the project gives the policy more with"
        " `lessee adopt`"
    )
