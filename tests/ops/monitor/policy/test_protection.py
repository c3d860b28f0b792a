"""What Vault says about a token decides whether it may be struck; a name that its client chose does not protect it."""

import msgspec
import pytest

from lessee.config.parsing import parse
from lessee.ops.monitor.policy.protection import (
    is_in_same_namespace,
    is_role_name,
    parse_token,
    protection_of,
    refusal,
    role_refusal,
)

LOGIN = {
    "accessor": "acc-1", "path": "auth/approle/login", "orphan": True, "display_name": "approle",
    "policies": ["default", "simba"], "meta": {"role_name": "simba"}, "entity_id": "entity-1",
}  # fmt: skip
OWN = parse_token({**LOGIN, "accessor": "own"})


def protection(*patterns, environment="production"):
    text = f"{{environment: {environment}, setup: {{environments: [staging]}}}}"
    return protection_of(parse(text, source="x", environ={}), patterns)


def refused(*patterns, own=OWN, **fields):
    return refusal(parse_token({**LOGIN, **fields}), own, protection(*patterns))


def test_a_token_of_an_app_may_be_struck():
    assert refused() == ""
    token = parse_token(LOGIN)
    assert (str(token), token.approle) == ("acc-1 (simba)", "simba")


def test_the_services_of_all_environments_are_protected():
    found = protection("Admins-*")
    assert found.patterns == (
        "staging-rotator", "staging-monitor", "production-rotator", "production-monitor", "admins-*",
    )  # fmt: skip
    assert found.policy_paths == ("sys/policies/acl/staging-monitor", "sys/policies/acl/production-monitor")
    assert refused(meta={"role_name": "staging-rotator"}) == "staging-rotator is protected"
    assert refused(policies=["production-monitor"]) == "production-monitor is protected"
    assert protection_of(parse("setup: {environments: [a]}", source="x", environ={}), ()).patterns == (
        "a-rotator", "a-monitor",
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"display_name": "userpass-alice"},
        {"meta": {"username": "alice"}},
        {"meta": {"role": "alice"}},
        {"identity_policies": ["alice"]},
        {"entity_id": "alice"},
        {"policies": ["ALICE"]},
    ],
)
def test_a_pattern_protects_by_each_name_that_the_server_gives(fields):
    assert refused("*alice", **fields).endswith("is protected")
    assert refused("bob", **fields) == ""


def test_a_name_that_the_client_chose_protects_nothing_but_its_policies_do():
    created = {"path": "auth/token/create", "meta": {"role_name": "production-rotator"}}
    assert refused(**created, display_name="production-rotator") == ""
    assert refused(**created, policies=["production-rotator"]) == "production-rotator is protected"
    token = parse_token({**LOGIN, **created})
    assert (str(token), token.approle) == ("acc-1 (auth/token/create)", "")


def test_root_tokens_and_the_monitors_own_and_its_ancestors_are_never_struck():
    assert refused(policies=["root"]) == "it is a root token"
    assert refused(accessor="own") == "it is the monitor's own token"
    child = parse_token({**LOGIN, "accessor": "own", "orphan": False})
    assert refused(own=child).startswith("the monitor's own token has a parent")


def test_a_role_is_of_an_approle_login_and_has_a_name_that_a_path_can_have():
    assert parse_token({**LOGIN, "path": "auth/jwt/login"}).approle == ""
    assert parse_token({**LOGIN, "meta": {"role_name": "../../sys"}}).approle == ""
    assert parse_token({"accessor": "a", "path": "p", "orphan": True}).approle == ""
    assert [name for name in ("a.b", "..", "", "a/b", "a b", "+") if is_role_name(name)] == ["a.b"]
    assert role_refusal("ci-1", protection("ci-*")) == "ci-1 is protected"
    assert role_refusal("simba", protection("ci-*")) == ""


def test_the_namespace_of_a_token_is_in_its_accessor():
    assert is_in_same_namespace("abc", "def")
    assert is_in_same_namespace("abc.n1", "def.n1")
    assert not is_in_same_namespace("abc.n1", "def")
    assert not is_in_same_namespace("abc", "def.n1")


def test_an_unknown_answer_is_an_error():
    with pytest.raises(msgspec.ValidationError):
        parse_token({"accessor": "a", "path": "p", "orphan": "yes"})
