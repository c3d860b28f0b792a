"""The issuer's policy grants wrapped secret_ids of its roles, and nothing else."""

from lessee.config.grammar.issue import Issue, IssuedRole
from lessee.core.hcl import parse
from lessee.ops.access.policy.issuer_policy import issued_in, of_issuer, rules

ISSUE = Issue(mount="team", wrap_ttl=90.5, roles={"b": IssuedRole(), "a": IssuedRole()})
OWN = {"auth/token/lookup-self": ("read",), "auth/token/renew-self": ("update",), "auth/token/revoke-self": ("update",)}


def test_each_role_has_a_rule_and_the_server_refuses_what_is_not_wrapped():
    made = rules(ISSUE)
    assert {rule.path: rule.capabilities for rule in made} == {
        "auth/team/role/a/secret-id": ("update",),
        "auth/team/role/b/secret-id": ("update",),
        **OWN,
    }
    assert [rule.wrapping_ttl for rule in made] == [("1s", "91s"), ("1s", "91s"), None, None, None]
    assert all(rule.comments for rule in made)


def test_the_issuer_of_an_environment_has_its_roles_alone():
    issue = Issue(roles={"testing-a": IssuedRole(), "Testing-b": IssuedRole(), "testingx": IssuedRole()})
    assert list(issued_in("testing", issue).roles) == ["testing-a", "Testing-b"]
    assert issued_in("test", issue) is None


def test_the_policy_is_valid_hcl():
    text = of_issuer("production-issuer", ISSUE)
    assert text.startswith("# production-issuer: hands out wrapped secret_ids\n")
    assert '  min_wrapping_ttl = "1s"\n  max_wrapping_ttl = "91s"\n' in text
    assert parse(text, "policy.hcl")
