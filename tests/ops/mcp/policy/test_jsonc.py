"""JSON with comments is read as JSON is, and every node knows where it stands."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.jsonc import Array, Object, Other, Text, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def plain(node):
    match node:
        case Text(value=value):
            return value
        case Other(spelt=spelt):
            return json.loads(spelt)
        case Array(items=items):
            return [plain(item) for item in items]
        case Object(members=members):
            return {member.key.value: plain(member.value) for member in members}


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.sampled_from([None, 0, 2]), st.booleans())
def test_whatever_is_json_is_read_so(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert plain(parse(text, "a").root) == value


TEXT = """\
\ufeff// the head
{
  "a": /* one
  more */ "x\\u0041", // "b": {
  "c": [1, true, null, -1.5e3,],
  /**/ "d": {"e": "//no", },
}
"""


def test_comments_and_trailing_commas_are_read_over_and_every_node_knows_its_place():
    document = parse(TEXT, "a")
    assert plain(document.root) == {"a": "xA", "c": [1, True, None, -1500], "d": {"e": "//no"}}
    a, c, d = document.root.members
    assert TEXT[a.value.start : a.value.end] == '"x\\u0041"'
    assert TEXT[c.value.start : c.value.end] == "[1, true, null, -1.5e3,]"
    assert [TEXT[member.comma] for member in (a, c, d)] == [",", ",", ","]
    assert [TEXT[start:end] for start, end in document.comments] == [
        "// the head",
        "/* one\n  more */",
        '// "b": {',
        "/**/",
    ]
    assert document.line(c.key.start) == 5
    assert document.root.get("d") == d.value
    assert document.root.get("nothing") is None
    assert "xA" not in repr(document)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "a:1: expected an object in braces"),
        ("", "a:1: a value is missing"),
        ("{}\n{", "a:2: something stands behind the end of the object"),
        ('{"a": secret}', "a:1: this is not JSON"),
        ('{"a": 01}', "a:1: this is not JSON"),
        ('{"a": trueish}', "a:1: this is not JSON"),
        ('{"a": "\\x"}', "a:1: a string has an escape that there is not"),
        ('{"a": "b\nc"}', "a:1: this is not JSON"),
        ('{"a": }', "a:1: a value is missing"),
        ('{"a" 1}', "a:1: expected a colon"),
        ('{"a": 1\n"b": 2}', "a:2: expected a comma or }"),
        ('{"a": [1 2]}', "a:1: expected a comma or ]"),
        ("{1: 2}", "a:1: expected a key in quotes, or a closing brace"),
        ('{"a": 1,\n"a": 2}', "a:2: the key 'a' stands there twice; leave one of them"),
        ('{"a": ' + "[" * 200, "a:1: it is nested too deeply"),
        ('{"a": 1 /*', "a:1: this is not JSON"),
        ('{"a": [', "a:1: a value is missing"),
        ("{", "a:1: expected a key in quotes, or a closing brace"),
    ],
)
def test_what_is_none_is_told_by_line_and_without_what_stands_there(text, told):
    with pytest.raises(ConfigError) as caught:
        parse(text, "a")
    assert str(caught.value) == told
