"""Who may read is struck, and who strikes is not."""

from lessee.ops.incident.policy.findings import Struck, Way
from lessee.ops.incident.policy.targets import doomed


def accessors(tokens):
    return [token.accessor for token in tokens]


def test_policies_are_struck_by_where_they_reach_and_where_nobody_can_tell(sight):
    assert sight().struck == (
        Struck("app", Way.GRANTS, "secret/data/production/"[:-1] + "/x"),
        Struck("broken", Way.UNREADABLE),
        Struck("templated", Way.TEMPLATED, "secret/data/production/"),
    )


def test_tokens_are_struck_by_any_of_their_policies_the_youngest_first(sight, token):
    tokens = (
        token("a", "app", created=1),
        token("b", "default", "other"),
        token("c", "other", "app", created=2),
        token("d", "templated", created=2),
    )
    ends, spared = doomed(sight(tokens=tokens))
    assert accessors(ends) == ["c", "d", "a"]
    assert spared == ()


def test_a_wrapping_token_is_struck_by_what_is_in_it(sight, token):
    tokens = (
        token("in", "response-wrapping", path="secret/data/production/a"),
        token("out", "response-wrapping", path="secret/data/testing/a"),
        token("no wrapping", "default", path="secret/data/production/a"),
    )
    assert accessors(doomed(sight(tokens=tokens))[0]) == ["in"]


def test_root_tokens_and_one_s_own_are_left_for_people(sight, token):
    own, other = token("own", "app", "admin"), token("own", "other")
    ends, spared = doomed(sight(own=own, tokens=(own, token("r", "root"), token("a", "app"))))
    assert accessors(ends) == ["a"]
    assert [(one.token.accessor, one.why) for one in spared] == [
        ("own", "it is your own"),
        ("r", "it is a root token"),
    ]
    assert doomed(sight(own=other, tokens=(other,))) == ((), ())


def test_what_may_be_a_parent_of_one_s_own_token_is_left_for_people(sight, token):
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
    ends, spared = doomed(sight(own=own, tokens=tokens))
    assert accessors(ends) == ["younger", "cannot", "no such policy", "unreadable"]
    assert [one.token.accessor for one in spared] == ["parent", "grandparent", "root"]
    assert "may be a parent of your own" in spared[0].why


def test_a_parent_that_is_an_orphan_has_none_itself(sight, token):
    own = token("own", "admin", orphan=False, created=50)
    parent = token("parent", "root", created=40)
    other = token("other", "admin", "app", created=45, path="auth/userpass/login/x")
    _, spared = doomed(sight(own=own, tokens=(own, parent, other)))
    assert [one.token.accessor for one in spared] == ["other", "parent"]
