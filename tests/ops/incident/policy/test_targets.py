"""Access of clients that may read is revoked, and the operator's own is not."""

from lessee.ops.incident.policy.findings import AccessKind, AffectedPolicy
from lessee.ops.incident.policy.targets import tokens_to_revoke


def accessors(tokens):
    return [token.accessor for token in tokens]


def test_policies_are_affected_by_what_they_grant_or_may_grant(findings):
    assert findings().affected_policies == (
        AffectedPolicy("app", AccessKind.GRANTED, "secret/data/production/"[:-1] + "/x"),
        AffectedPolicy("broken", AccessKind.UNREADABLE),
        AffectedPolicy("templated", AccessKind.TEMPLATED, "secret/data/production/"),
    )


def test_tokens_are_revoked_by_any_of_their_policies_the_newest_first(findings, token):
    tokens = (
        token("a", "app", created=1),
        token("b", "default", "other"),
        token("c", "other", "app", created=2),
        token("d", "templated", created=2),
    )
    revoked, skipped = tokens_to_revoke(findings(tokens=tokens))
    assert accessors(revoked) == ["c", "d", "a"]
    assert skipped == ()


def test_a_wrapping_token_is_revoked_by_what_it_wraps(findings, token):
    tokens = (
        token("in", "response-wrapping", path="secret/data/production/a"),
        token("out", "response-wrapping", path="secret/data/testing/a"),
        token("no wrapping", "default", path="secret/data/production/a"),
    )
    assert accessors(tokens_to_revoke(findings(tokens=tokens))[0]) == ["in"]


def test_root_tokens_and_the_own_token_are_skipped(findings, token):
    own, other = token("own", "app", "admin"), token("own", "other")
    revoked, skipped = tokens_to_revoke(findings(own=own, tokens=(own, token("r", "root"), token("a", "app"))))
    assert accessors(revoked) == ["a"]
    assert [(one.token.accessor, one.reason) for one in skipped] == [
        ("own", "it is your own token"),
        ("r", "it is a root token"),
    ]
    assert tokens_to_revoke(findings(own=other, tokens=(other,))) == ((), ())


def test_possible_parents_of_the_own_token_are_skipped(findings, token):
    own = token("own", "admin", orphan=False, created=50)
    tokens = (
        own,
        token("parent", "admin", "app", orphan=False, created=40),
        token("grandparent", "admin", "app", created=30),
        token("younger", "admin", "app", created=60),
        token("cannot", "app", created=40),
        token("root", "root", created=1),
        token("no such policy", "gone", "app", created=1),
        token("unreadable", "broken", created=1),
    )
    revoked, skipped = tokens_to_revoke(findings(own=own, tokens=tokens))
    assert accessors(revoked) == ["younger", "cannot", "no such policy", "unreadable"]
    assert [one.token.accessor for one in skipped] == ["parent", "grandparent", "root"]
    assert "may be a parent of your own token" in skipped[0].reason


def test_an_orphan_token_has_no_parent(findings, token):
    own = token("own", "admin", orphan=False, created=50)
    parent = token("parent", "root", created=40)
    other = token("other", "admin", "app", created=45, path="auth/userpass/login/x")
    _, skipped = tokens_to_revoke(findings(own=own, tokens=(own, parent, other)))
    assert [one.token.accessor for one in skipped] == ["other", "parent"]


def test_tokens_with_a_protected_policy_are_skipped(findings, token):
    tokens = (token("a", "app"), token("b", "app", "Break-glass"))
    revoked, skipped = tokens_to_revoke(findings(tokens=tokens, protected=("break-*",)))
    assert accessors(revoked) == ["a"]
    assert [(one.token.accessor, one.reason) for one in skipped] == [("b", "its policy is protected by --protect")]
