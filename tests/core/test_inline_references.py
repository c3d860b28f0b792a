"""A reference in place names a field of a KV secret, and a malformed one is an error that says what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.inline_references import (
    EXAMPLE,
    InlineReference,
    InlineReferenceError,
    may_have_reference,
    split,
)

POSTGRES = InlineReference("database/postgres", ("password",))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (EXAMPLE, POSTGRES),
        ("ref+vault://database/postgres#password", POSTGRES),
        ("secretref+vault://database/postgres#password", POSTGRES),
        ("ref+vault://database/postgres#/password", POSTGRES),
        ("ref+vault:///database/postgres/#password", POSTGRES),
        ("ref+vault://database/postgres#password+", POSTGRES),
        ("ref+vault://database/postgres?#password", POSTGRES),
        ("ref+vault://a#/b/c", InlineReference("a", ("b", "c"))),
        ("ref+vault://a%20b#c%2Fd", InlineReference("a b", ("c/d",))),
        ("ref+vault://a?version=3#b", InlineReference("a", ("b",), (("version", 3),))),
        ("ref+vault://a?urlencode=true#b", InlineReference("a", ("b",), urlencode=True)),
        (
            "ref+vault://a?mount=kv&identity=team-b&namespace=x%2Fy#b",
            InlineReference("a", ("b",), (("identity", "team-b"), ("mount", "kv"), ("namespace", "x/y"))),
        ),
    ],
)
def test_a_reference_is_read_as_vals_writes_it(text, reference):
    assert split(text) == (reference,)
    assert may_have_reference(text)


def test_text_around_references_stays_and_each_ends_at_a_plus_or_where_a_value_ends():
    text = "postgresql://ref+vault://db#user+:ref+vault://db?urlencode=true#pass+@db/web \"ref+vault://a#b\" '+'"
    assert split(text) == (
        "postgresql://",
        InlineReference("db", ("user",)),
        ":",
        InlineReference("db", ("pass",), urlencode=True),
        '@db/web "',
        InlineReference("a", ("b",)),
        "\" '+'",
    )


@pytest.mark.parametrize("text", ["", "plain", "ref+awssm://a#b", "ref +vault://a#b", "a ref+", "vault:secret/a#b"])
def test_other_text_has_no_reference(text):
    assert not may_have_reference(text)
    assert "".join(split(text)) == text


def test_a_comment_has_no_reference_where_comments_are_known():
    text = f"  # A={EXAMPLE}\nA={EXAMPLE}\n#B"
    assert split(text, comments=True) == (f"  # A={EXAMPLE}\nA=", POSTGRES, "\n#B")
    assert split(text)[1] == POSTGRES


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ref+vault://a", "names no field"),
        ("ref+vault://a#", "names no field"),
        ("ref+vault://a#/", "names no field"),
        ("ref+vault://#b", "invalid path"),
        ("ref+vault://a$b#c", "invalid path"),
        ("ref+vault://a%2#c", "invalid path"),
        ("ref+vault://a#b@db/x", "invalid field"),
        ("ref+vault://a#b;", "invalid field"),
        ("ref+vault://a#b//c", "invalid field"),
        ("ref+vault://a?address=https://vault:8200#b", "unknown parameter"),
        ("ref+vault://a?version=latest#b", "invalid value of `version`"),
        ("ref+vault://a?urlencode#b", "invalid value of `urlencode`"),
        ("ref+vault://a?mount=#b", "invalid value of `mount`"),
        ("ref+vault://a?version=1&version=2#b", "`version` twice"),
        ("ref+vault://a?urlencode=true&urlencode=true#b", "`urlencode` twice"),
    ],
)
def test_a_malformed_reference_is_an_error_with_its_line_and_what_to_write(text, what):
    with pytest.raises(InlineReferenceError, match=what) as caught:
        split(f"password\n{text}")
    assert caught.value.todo
    assert caught.value.line == 1
    assert "password\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_split_or_rejected(text):
    for prefix in ("", "ref+vault://", "ref+vault://a#"):
        try:
            parts = split(prefix + text)
        except InlineReferenceError:
            continue
        assert all(parts)
        plain = sum(len(part) for part in parts if isinstance(part, str))
        assert plain == len(prefix + text) or any(isinstance(part, InlineReference) for part in parts)
