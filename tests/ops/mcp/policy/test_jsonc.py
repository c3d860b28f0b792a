"""JSON with comments is parsed like JSON, and every node has its offsets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.jsonc import Array, Literal, Object, String, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def plain(node):
    match node:
        case String(value=value):
            return value
        case Literal(source=source):
            return json.loads(source)
        case Array(items=items):
            return [plain(item) for item in items]
        case Object(members=members):
            return {member.key.value: plain(member.value) for member in members}


@pytest.mark.no_cover
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.sampled_from([None, 0, 2]), st.booleans())
def test_any_json_object_is_parsed(value, indent, ascii_only):
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


def test_comments_and_trailing_commas_are_skipped_and_every_node_has_its_offsets():
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
    ("text", "error"),
    [
        ("[]", "a:1: expected an object in braces"),
        ("", "a:1: expected a value"),
        ("{}\n{", "a:2: unexpected text after the end of the object"),
        ('{"a": secret}', "a:1: invalid JSON"),
        ('{"a": 01}', "a:1: invalid JSON"),
        ('{"a": trueish}', "a:1: invalid JSON"),
        ('{"a": "\\x"}', "a:1: invalid escape sequence in a string"),
        ('{"a": "b\nc"}', "a:1: invalid JSON"),
        ('{"a": }', "a:1: expected a value"),
        ('{"a" 1}', "a:1: expected a colon"),
        ('{"a": 1\n"b": 2}', "a:2: expected a comma or }"),
        ('{"a": [1 2]}', "a:1: expected a comma or ]"),
        ("{1: 2}", "a:1: expected a key in quotes, or a closing brace"),
        ('{"a": 1,\n"a": 2}', "a:2: duplicate key 'a'; remove one of the two"),
        ('{"a": ' + "[" * 200, "a:1: the file is nested too deeply"),
        ('{"a": 1 /*', "a:1: invalid JSON"),
        ('{"a": [', "a:1: expected a value"),
        ("{", "a:1: expected a key in quotes, or a closing brace"),
    ],
)
def test_invalid_json_is_reported_with_its_line_and_without_its_content(text, error):
    with pytest.raises(ConfigError) as caught:
        parse(text, "a")
    assert str(caught.value) == error
