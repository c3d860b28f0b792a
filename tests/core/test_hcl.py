"""HCL and its JSON form are parsed as Vault Agent parses them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import ConfigError
from lessee.core.hcl import Block, parse
from lessee.core.source_text import Text


def plain(value):
    """Blocks as lists of keys and values."""
    match value:
        case Text():
            return value.value
        case Block():
            return [(*item.keys, plain(item.value)) for item in value.items]
        case tuple():
            return [plain(item) for item in value]
        case _:
            return value


def read(text):
    return plain(parse(text, "agent.hcl"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a = "b"', [("a", "b")]),
        ("# x\n// y\n/* z\n */ a = 1 # b = 2\n", [("a", 1)]),
        ("a = 0640\nb = 0x1F\nc = -3\nd = 1.5\ne = 2e3\nf = true\ng = false", None),
        (
            'vault { address = "x" retry { num_retries = 5 } }',
            [("vault", [("address", "x"), ("retry", [("num_retries", 5)])])],
        ),
        ('sink "file" { a = 1 }\nsink "file" { a = 2 }', [("sink", "file", [("a", 1)]), ("sink", "file", [("a", 2)])]),
        ('a = ["x", 1, true, { b = 2 }, ["y"],]', [("a", ["x", 1, True, [("b", 2)], ["y"]])]),
        ('"a" = 1, a.b-c = 2', [("a", 1), ("a.b-c", 2)]),
        ("", []),
        ("\ufeffa = 1\r\nb = 2\r\n", [("a", 1), ("b", 2)]),
    ],
)
def test_blocks_lists_and_scalars_are_parsed(text, expected):
    numbers = [("a", 0o640), ("b", 31), ("c", -3), ("d", 1.5), ("e", 2000.0), ("f", True), ("g", False)]
    assert read(text) == (numbers if expected is None else expected)


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        (r'"a\n\t\"b\\"', 'a\n\t"b\\'),
        (r'"\x41\101\u00e9\U0001F600\a"', "AAé😀\a"),
        (r'"kill ${PID:-\"1\"} \"x\""', r'kill ${PID:-\"1\"} "x"'),
        ('"${a {b} "c"} $ $x"', '${a {b} "c"} $ $x'),
        ('"${a\nb}"', "${a\nb}"),
        ('<<EOT\n{{ with secret "x" }}${A} %{b}\n\\n\nEOT\n', '{{ with secret "x" }}${A} %{b}\n\\n\n'),
        ("<<EOT\nx\n  EOT\n", "x\n  "),
        ("<<-EOT\n    x\n      y\n    EOT\n", "x\n  y\n"),
        ("<<-EOT\n    x\n\n    EOT\n", "    x\n\n"),
        ("<<EOT\nEOTX\nEOT", "EOTX\n"),
    ],
)
def test_strings_are_unescaped_as_in_hcl(literal, expected):
    assert read(f"a = {literal}") == [("a", expected)]


def test_a_text_knows_the_lines_of_the_file():
    block = parse('\na = <<EOT\nx\ny\nEOT\nb = "c\\nd"\n', "agent.hcl")
    heredoc, quoted = (item.value for item in block.items)
    assert (heredoc.where(), heredoc.where(2)) == ("agent.hcl:3", "agent.hcl:4")
    assert (quoted.where(), quoted.where(2)) == ("agent.hcl:6", "agent.hcl:6")
    assert [item.line for item in block.items] == [2, 6]


def test_json_is_parsed_with_its_lines():
    text = ' {\n "a": [{"b": "c"}, 1, null],\n "d": {"e": true}, "f": []}\n'
    assert read(text) == [("a", [[("b", "c")], 1, None]), ("d", [("e", True)]), ("f", [])]
    assert parse(text, "agent.json").items[1].line == 3


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('a = "b\n', "1: a string is not closed"),
        ('\na = "b', "2: a string is not closed"),
        ("a = <<EOT\nx\n", "1: a heredoc is not closed; close it with EOT"),
        ("a = <EOT\n", "1: a < does not begin a heredoc"),
        ('a = "\\q"', "1: a string contains a backslash that does not begin an escape sequence"),
        ('a = "\\ud800"', "1: a string contains a backslash"),
        ('a = "\\xff"', "1: a string contains a backslash"),
        ('a = "\\x41\\q"', "1: a string contains a backslash"),
        ("a {\n b = 1\n", "1: a { is not closed"),
        ("a = [1,\n", "1: a [ is not closed"),
        ("a = [1 2]", "1: in a list expected a comma or ], found '2'"),
        ("}", "1: a } has no matching {"),
        ("a = ", "1: expected a value, found the end of the file"),
        ("a = yes", "1: expected a value, found 'y'"),
        ("a = 089", "1: this is not a number"),
        ('a "b" = 1', "1: after the key 'a' expected = or {, found '='"),
        ('a\n"secret"', "2: after the key 'a' expected = or {, found the end of the file"),
        ("= 1", "1: expected a key, found '='"),
        ("/* x", "1: a comment is not closed"),
        ("a = {" * 200, "more than 100 deep"),
        ("{} x", "1: unexpected content after the end of the JSON: 'x'"),
        ('{"a" 1}', "1: this is not JSON: expected a key"),
        ('{"a": 1 "b": 2}', "1: this is not JSON: expected a comma or }, found a string"),
        ('{"a": x}', "1: this is not JSON: expected a value, found 'x'"),
        ('{"a": [' * 200, "more than 100 deep"),
        ("{", "1: this is not JSON: expected a value, found the end of the file"),
    ],
)
def test_a_syntax_error_is_reported_with_its_line(text, error):
    with pytest.raises(ConfigError) as caught:
        parse(text, "agent.hcl")
    assert str(caught.value).startswith("agent.hcl:")
    assert error in str(caught.value)


WORDS = st.sampled_from(
    [
        'a = "',
        '"',
        "\\",
        "${",
        "}",
        "{",
        "[",
        "]",
        ",",
        "=",
        "\n",
        "#",
        "/*",
        "*/",
        "<<EOT\n",
        "EOT\n",
        "<<-E\n",
        "07",
        "é",
        "a.b",
        " ",
        "true",
    ]
)


def test_half_a_surrogate_pair_in_json_is_replaced_as_in_go():
    [item] = parse('{"a\\ud800": "\\udc00\\ud83d\\ude00"}', "a.json").items
    assert (item.keys, item.value.value) == (("a\ufffd",), "\ufffd😀")


@pytest.mark.no_cover
@given(st.lists(WORDS, max_size=20).map("".join) | st.text(max_size=60))
def test_any_text_is_parsed_or_rejected_with_its_line(text):
    assert re.match(r"agent.hcl:[0-9]+: |\Z", rejection(text))


def rejection(text):
    try:
        parse(text, "agent.hcl")
    except ConfigError as exc:
        return str(exc)
    return ""


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@pytest.mark.long
@given(st.dictionaries(st.text(), TREES, max_size=4), st.sampled_from([None, 2]))
def test_any_json_object_is_read_as_it_is(data, indent):
    def pairs(value):
        match value:
            case dict():
                return [(key, pairs(inner)) for key, inner in value.items()]
            case list():
                return [pairs(inner) for inner in value]
            case _:
                return value

    assert read(json.dumps(data, indent=indent)) == pairs(data)


@pytest.mark.no_cover
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r$"), max_size=40))
def test_any_text_in_quotes_is_read_as_it_is(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert read(f'a = "{escaped}"') == [("a", text)]
    assert read(f"a = <<END_OF_IT\n{text}\nEND_OF_IT\n") == [("a", f"{text}\n")]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ('a = "x"\nb = 1\na = "y"', 1, 3),
        ('t {\n a = 1\n "a" = 2\n}', 2, 3),
        ('a = ["x"]\na = ["y"]', 1, 2),
        ('{"a": 1,\n "a": 2}', 1, 2),
        ('{"t": [{"a": 1}, {"a": 1,\n "a": null}]}', 1, 2),
    ],
)
def test_a_second_value_of_an_argument_is_an_error_where_that_is_strict(text, first, second):
    parse(text, "agent.hcl")
    with pytest.raises(ConfigError, match=rf"^agent\.hcl:{second}: the argument 'a' is already set in line {first};"):
        parse(text, "agent.hcl", strict=True)


def test_blocks_can_be_repeated_where_an_argument_cannot():
    text = 't { a = 1 }\nt { a = 2 }\nt "x" { a = 1 }\nl = [{ a = 1 }]\nl = [{ a = 1 }]'
    assert len(parse(text, "agent.hcl", strict=True).items) == 5
