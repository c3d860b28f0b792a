"""lessee's own filters and Jinja's, alone and in the formats in which they are used."""

import base64
import hashlib
import hmac
import io
import json
import math
import shlex
import tomllib
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Placeholder
from lessee.rendering.sandbox.filters import FILTERS, TESTS
from support.inputs.hostile_values import VALUES
from support.models.sandbox import document, error_of, file, parts, placeholder, value

PEM = "-----BEGIN CERTIFICATE-----\nMIIB+/=\nabc==\n-----END CERTIFICATE-----\n"
plain_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
structure = st.recursive(
    st.none() | st.booleans() | st.integers() | plain_text | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=8,
)


def read_dotenv(text):
    return dotenv_values(stream=io.StringIO(text))


# base64, and what is binary.


@pytest.mark.no_cover
@given(st.text())
def test_base64_is_encoded_and_decoded(text):
    encoded, decoded = parts("{{ s.x|b64encode }}{{ s.x|b64encode|b64decode }}", {"x": text})
    assert base64.b64decode(encoded[0]).decode() == decoded[0] == text


def test_base64_in_lines_is_decoded():
    assert value("s.x|b64decode", {"x": base64.encodebytes(b"x" * 100).decode()}) == "x" * 100


@pytest.mark.parametrize("garbage", ["!", "a", "YWJj!", "é", "YQ=", "\xa0YQ=="])
def test_invalid_base64_is_rejected_without_its_content(garbage):
    assert error_of("{{ s.x|b64decode }}", {"x": garbage}) == "app.j2:1: b64decode: the value is not base64"


@pytest.mark.no_cover
@given(st.binary())
def test_a_binary_file_is_rendered_byte_for_byte(content):
    assert file("{{ s.x|b64decode }}", "text", {"x": base64.b64encode(content).decode()}) == content


def test_binary_values_follow_each_other_and_text():
    data = {"a": base64.b64encode(b"\xc3").decode(), "b": base64.b64encode(b"\xa9\xff").decode()}
    assert file("é{{ s.a|b64decode }}{{ s.b|b64decode }}é", "text", data) == b"\xc3\xa9" + b"\xc3\xa9\xff" + b"\xc3\xa9"


@pytest.mark.parametrize(
    ("text", "format"),
    [("A={{ s.x|b64decode }}", "dotenv"), ('["{{ s.x|b64decode }}"]', "json"), ("[{{ s.x|b64decode }}]", "json"),
     ("a: {{ s.x|b64decode }}", "yaml"), ("a: 'x{{ s.x|b64decode }}'", "yaml"), ("# {{ s.x|b64decode }}", "yaml")],
)  # fmt: skip
def test_binary_values_are_only_allowed_in_the_format_text(text, format):  # noqa: A002  # As users write it.
    with pytest.raises(FormatError, match=r"app\.j2:1: an expression is binary; add `\| b64encode`, or set"):
        file(text, format, {"x": "/w=="})


@pytest.mark.parametrize(
    "expression",
    ["x ~ 'a'", "[x]", "{'a': x}", "x|json", "x|yaml", "x|sh", "x|urlencode", "x|upper", "x|b64decode", "x|fromjson",
     "[x]|join", "x % 1", "'%s' % x", "'{}'.format(x)", "{x: 1}", "x|indent", "x|string", "x is lower"],
)  # fmt: skip
def test_a_binary_value_is_not_text(expression):
    error = error_of("{% set x = s.x|b64decode %}{{ " + expression + " }}", {"x": "/w=="})
    assert error == "app.j2:1: the value is binary; add `| b64encode`"


def test_a_binary_value_can_be_encoded_hashed_measured_and_compared():
    text = "{% set x = s.x|b64decode %}{{ x|b64encode }}{{ x|sha256 }}{{ x|length }}{{ x == x }}{{ x + x == x * 2 }}"
    assert parts(text, {"x": "/w=="}) == [["/w=="], [hashlib.sha256(b"\xff").hexdigest()], [1], [True], [True]]


@pytest.mark.no_cover
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_fingerprint_is_that_of_the_text(text):
    assert value("s.x|sha256", {"x": text}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.long
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_digests_are_those_of_the_text_and_the_key(text, key):
    assert value("s.x|md5", {"x": text}) == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    code = hmac.new(key.encode(), text.encode(), "sha256").hexdigest()
    assert value("s.x|hmac_sha256(s.k)", {"x": text, "k": key}) == code


# The shell and URLs.


@pytest.mark.no_cover
@given(plain_text)
def test_a_value_is_one_word_of_the_shell(text):
    assert shlex.split(value("s.x|sh", {"x": text})) == [text]


@pytest.mark.no_cover
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_one_part_of_a_url(text):
    quoted = value("s.x|urlencode", {"x": text})
    assert unquote(quoted) == text
    assert not set(quoted) & set("/?#&=@:%+ ") - {"%"}


@pytest.mark.long
def test_every_hostile_value_is_the_password_of_a_uri():
    for text in VALUES:
        url = value("'postgres://u:' ~ s.x|urlencode ~ '@host:5432/db'", {"x": text})
        read = urlsplit(url)
        assert (unquote(read.password), read.hostname, read.port, read.path) == (text, "host", 5432, "/db")


@pytest.mark.parametrize("name", ["sh", "urlencode", "b64encode", "md5", "sha256"])
def test_filters_of_text_take_numbers_and_booleans(name):
    assert parts("{{ 5|" + name + " }}{{ true|" + name + " }}") == parts(
        "{{ '5'|" + name + " }}{{ 'true'|" + name + " }}"
    )


@pytest.mark.parametrize("name", ["sh", "urlencode", "b64encode", "b64decode", "md5", "sha256", "fromjson"])
def test_filters_of_text_take_no_structure(name):
    for expression in ("s", "s.list", "s.none"):
        error = error_of("{{ " + expression + "|" + name + " }}", {"list": [1], "none": None})
        assert error == "app.j2:1: this filter takes a string or a number; add `| json` for a structure"


# JSON.


@pytest.mark.parametrize("name", ["json", "tojson"])
def test_json_is_compact_and_escapes_no_letters(name):
    found = placeholder("s|" + name, {"ä": [1, None, {"b": "</x>"}]})
    assert found == Placeholder('{"ä":[1,null,{"b":"</x>"}]}', "an expression", structure=True)


def test_json_of_all_json_types():
    text = "[s.x, s.y, 1.5, true, none, 'z', {'k': s}, (1,)]|json"
    assert json.loads(value(text, {"x": "1", "y": 2})) == [
        "1", 2, 1.5, True, None, "z", {"k": {"x": "1", "y": 2}}, [1],
    ]  # fmt: skip


def test_json_that_was_changed_is_a_string_again():
    found = placeholder("s|json|replace('1', '2')", {"a": 1})
    assert (found.value, found.structure) == ('{"a":2}', False)


def test_json_with_indentation():
    assert value("s|json(indent=2)", {"a": [1], "b": {}}) == '{\n  "a": [\n    1\n  ],\n  "b": {}\n}'
    assert json.loads(file('{"s": {{ s|json(2)|indent(2) }}}', "json", {"a": [1]})) == {"s": {"a": [1]}}
    assert "requests more than 1,000 characters" in error_of("{{ s|json(indent=1001) }}")


@pytest.mark.parametrize("expression", ["'inf'|float", "['nan'|float]"])
@pytest.mark.parametrize("name", ["json", "yaml"])
def test_an_invalid_json_number_is_rejected(name, expression):
    error = error_of("{{ (" + expression + ")|" + name + " }}")
    assert error == f"app.j2:1: {name}: a number is NaN, infinite or too long"


@pytest.mark.no_cover
@given(structure)
def test_json_text_is_parsed_to_its_structure(data):
    assert value("(s.x|fromjson)", {"x": json.dumps(data)}) == data


def test_parsed_json_can_be_accessed_and_has_its_origin():
    data = {"account": '{"email": "a@b", "keys": [{"id": "k1"}], "none": null, "n": 1}'}
    text = (
        "{% set a = s.account|fromjson %}{{ a.email }}{{ a['email'] }}{{ a.keys()|length }}{{ a['keys'][0].id }}"
        "{{ a.none is none }}{{ a.n + 1 }}{{ a.nope|default('d') }}{% for k, v in a|items %}{{ k }}{% endfor %}"
        "{{ a|length }}{{ 'email' in a }}"
    )
    found = document(text, data).parts
    assert [part.value for part in found] == [
        "a@b", "a@b", 4, "k1", True, 2, "d", "email", "keys", "none", "n", 4, True,
    ]  # fmt: skip
    assert [part.origin for part in found[:2]] == ["a: account", "a: account"]
    assert document("{{ (s.account|fromjson)['keys'][0] }}", data).parts[0].origin == "a: account"


def test_keys_within_a_value_are_part_of_it():
    for text in ("{{ (s.x|fromjson).nope }}", "{{ (s.x|fromjson)['a' ~ 'b'] }}", "{{ (s.x|fromjson).in.nope }}"):
        error = error_of(text, {"x": '{"canary": 1, "in": {"canary": 2}}'})
        assert "canary" not in error
        assert error.startswith("app.j2:1: the JSON of a: x has no such key: ")


@pytest.mark.parametrize(
    ("text", "why"),
    [("canary", "not JSON"), ("", "not JSON"), ('{"canary": 1, "canary": 2}', "not JSON"), ("[NaN]", "not JSON"),
     ("[" * 100_000, "nested too deeply")],
)  # fmt: skip
def test_invalid_json_is_rejected_without_its_content(text, why):
    assert error_of("{{ s.x|fromjson }}", {"x": text}) == f"app.j2:1: fromjson: the value is {why}"


# YAML.


@pytest.mark.no_cover
@given(structure)
def test_yaml_in_text_is_in_block_style_and_reads_back(data):
    text = value("s.x|yaml", {"x": data})
    assert repr(yaml.safe_load(text)) == repr(data)
    assert not text.endswith("\n")


def test_yaml_keeps_the_order_of_keys_and_nests_by_lines():
    data = {"b": [1, {"c": "x", "a": None}], "a": {}, "e": True}
    assert value("s|yaml", data) == "b:\n- 1\n- c: x\n  a: null\na: {}\ne: true"


def test_yaml_writes_a_long_text_on_one_line_and_quotes_with_double_quotes():
    words = " ".join(["word"] * 50)
    assert value("s.x|yaml", {"x": [words, "y", "1e3"]}) == f'- {words}\n- "y"\n- "1e3"'


def test_yaml_uses_no_alias_for_equal_values():
    assert value("[s, s]|yaml", {"a": [1]}) == "- a:\n  - 1\n- a:\n  - 1"


@pytest.mark.parametrize(
    "text",
    ["1e3", "0o14", "0x1F", "007", "1_000", "y", "N", "yes", "off", "~", "null", ".5", "+1.", "12:30", "a\nb", "<<"],
)
def test_text_that_some_reader_would_read_differently_is_quoted(text):
    assert value("s.x|yaml", {"x": text})[0] in "\"'"


@pytest.mark.long
def test_every_hostile_value_reads_back_from_yaml_text():
    data = {f"k{n}": text for n, text in enumerate(VALUES)} | dict.fromkeys(VALUES, 1)
    assert yaml.safe_load(value("s|yaml", data)) == data


@pytest.mark.long
@given(structure)
def test_yaml_in_a_yaml_file_is_a_structure(data):
    for text in ("a: {{ s.x|yaml }}\n", "a:\n  {{ s.x|yaml|indent(2) }}\n", "a: {{ s.x|json }}\n"):
        assert repr(yaml.safe_load(file(text, "yaml", {"x": data}))) == repr({"a": data})


@pytest.mark.no_cover
@given(structure)
def test_yaml_inside_a_string_of_yaml_is_its_text(data):
    text = "a: |\n  {{ s.x|yaml|indent(2) }}\nb: '{{ s.x|yaml }}'\n"
    read = yaml.safe_load(file(text, "yaml", {"x": data}))
    assert repr(yaml.safe_load(read["a"])) == repr(yaml.safe_load(read["b"])) == repr(data)


def test_yaml_in_another_format_is_text():
    assert json.loads(file("[{{ s|yaml }}]", "json", {"a": [1]})) == ["a:\n- 1"]
    assert read_dotenv(file("A={{ s|yaml }}\n", "dotenv", {"a": [1]}).decode()) == {"A": "a:\n- 1"}


# A whole secret as dotenv.


def test_a_whole_secret_is_lines_of_name_and_value():
    data = {"B": "x y", "A": 1, "C": True, "D": "'\n\"$"}
    assert parts("{{ s|dotenv }}\n", data)[:4] == [["B"], "=", ["x y"], "\n"]
    read = read_dotenv(file("# mine\n{{ s|dotenv }}\nE=e\n", "dotenv", data).decode())
    assert list(read.items()) == [("B", "x y"), ("A", "1"), ("C", "true"), ("D", "'\n\"$"), ("E", "e")]


@pytest.mark.parametrize(
    ("name", "begin", "lines"),
    [
        ("dotenv", "", "B='x y'\nA='1'\n"),
        ("dotenv-node", "", "B='x y'\nA='1'\n"),
        ("dotenv-vite", "", "B='x y'\nA='1'\n"),
        ("dotenv-compose", "", "B='x y'\nA='1'\n"),
        ("dotenv-docker", "", "B=x y\nA=1\n"),
        ("systemd", "", 'B="x y"\nA="1"\n'),
        ("sh", "set -a\n", "B='x y'\nA='1'\n"),
        ("properties", "", "B=x y\nA=1\n"),
        ("ini", "[a]\n", "B=x y\nA=1\n"),
        ("ini-interpolation", "[a]\n", "B=x y\nA=1\n"),
        ("text", "", "B=x y\nA=1\n"),
    ],
)
def test_a_whole_secret_is_lines_of_every_format_that_has_them(name, begin, lines):
    assert file(begin + "{{ s|dotenv }}\n", name, {"B": "x y", "A": 1}).decode() == begin + lines


def test_a_whole_secret_has_the_origin_of_each_part():
    origins = [
        part.origin for part in document("{{ s|dotenv }}", {"A": "x", "B": 1}).parts if isinstance(part, Placeholder)
    ]
    assert origins == ["the name of a: A", "a: A", "the name of a: B", "a: B"]


def test_a_mapping_of_the_authors_is_lines_too():
    found = document("{{ {'A': s.x, 'B': 1}|dotenv }}{{ {}|dotenv }}", {"x": "y"}).parts
    assert [part if isinstance(part, str) else (part.value, part.origin) for part in found] == [
        ("A", "the name of a: x"), "=", ("y", "a: x"), "\n",
        ("B", "the name of an expression"), "=", (1, "an expression"),
    ]  # fmt: skip


def test_dotenv_does_not_print_keys_of_json_text():
    with pytest.raises(FormatError) as caught:
        file("{{ s.x|fromjson|dotenv }}", "dotenv", {"x": '{"can ary": "v"}'})
    assert str(caught.value).startswith("app.j2:1: the name of a: x does not form a valid variable name")


@pytest.mark.parametrize(
    ("data", "error"),
    [({"A": {"b": "c"}}, "a: A is a structure, but NAME=value needs a string; write its values one by one"),
     ({"A": ["b"]}, "a: A is a structure, but NAME=value needs a string; write its values one by one")],
)  # fmt: skip
def test_a_structure_is_not_a_line(data, error):
    assert error_of("{{ s|dotenv }}", data) == f"app.j2:1: {error}"


@pytest.mark.parametrize("key", ["a b", "1A", "A\nB", "", "A=B", "é"])
def test_a_key_that_is_not_a_name_is_rejected(key):
    with pytest.raises(FormatError, match=r"^app\.j2:1: the name of a: .* does not form a valid variable name"):
        file("{{ s|dotenv }}\n", "dotenv", {key: "x"})


@pytest.mark.parametrize("expression", ["s.x|dotenv", "[s]|dotenv", "1|dotenv"])
def test_dotenv_takes_a_whole_secret(expression):
    error = error_of("{{ " + expression + " }}", {"x": "y"})
    assert error == 'app.j2:1: dotenv takes a whole secret; write {{ secret("…") | dotenv }}'


def test_the_result_of_dotenv_can_only_be_written():
    assert "`| dotenv` contains values and cannot be joined, compared or filtered" in error_of(
        "{{ s|dotenv|upper }}", {"A": 1}
    )


# Whole mappings, folders and lists in loops.

LOOPS = [
    "{% for k, v in s.items() %}{{ k }}={{ v }}\n{% endfor %}",
    "{% for k, v in s|items %}{{ k }}={{ v }}\n{% endfor %}",
    "{% for k in s %}{{ k }}={{ s[k] }}\n{% endfor %}",
    "{% for k in s.keys() %}{{ k }}={{ s.get(k) }}\n{% endfor %}",
    "{% for k, v in s|dictsort %}{{ k }}={{ v }}\n{% endfor %}",
    "{{ s|dotenv }}\n",
]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_over_a_secret_makes_a_dotenv_file(loop):
    data = {"A": "1 2", "B": "x'y\nz", "C": ""}
    assert read_dotenv(file(loop, "dotenv", data).decode()) == data


def test_loops_make_json_and_yaml_of_nested_secrets():
    data = {"one": {"user": "u", "tags": ["a", 1]}, "two": {"user": '"', "tags": []}}
    as_json = (
        '{ {% for name, one in s.items() %}{{ name }}: {"user": {{ one.user }}, "tags": [{% for tag in one.tags %}'
        '{{ tag }}{{ "," if not loop.last }}{% endfor %}]}{{ "," if not loop.last }}{% endfor %} }'
    )
    as_yaml = (
        "{% for name, one in s.items() %}\n{{ name }}:\n  user: {{ one.user }}\n  tags:{{ ' []' if not one.tags }}\n"
        "  {% for tag in one.tags %}\n  - {{ tag }}\n  {% endfor %}\n{% endfor %}"
    )
    assert json.loads(file(as_json, "json", data)) == data
    assert yaml.safe_load(file(as_yaml, "yaml", data)) == data


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("s|length", 3),
        ("s.tls|length", 1),
        ("s.tls.key", "K"),
        ("s['tls']['key']", "K"),
        ("s.list[0] ~ s.list[-1]", "bc"),
        ("s.list[1:]", ["c"]),
        ("s.list|join(', ')", "b, c"),
        ("s.list|map('upper')", ["B", "C"]),
        ("s.list|map('upper')|list", ["B", "C"]),
        ("s.list|reject('eq', 'b')", ["c"]),
        ("[s.tls, {'key': 'L'}]|map(attribute='key')|join('-')", "K-L"),
        ("[s.tls, {'key': 'L'}]|selectattr('key', 'eq', 'L')|first", {"key": "L"}),
        ("[s.tls, {'key': 'L'}]|join('+', attribute='key')", "K+L"),
        ("s.items()", [["x", "a"], ["tls", {"key": "K"}], ["list", ["b", "c"]]]),
        ("s|items", [["x", "a"], ["tls", {"key": "K"}], ["list", ["b", "c"]]]),
        ("s.keys()", ["x", "tls", "list"]),
        ("s.tls.values()", ["K"]),
        ("s|dictsort|map('first')", ["list", "tls", "x"]),
        ("s.list|sort(reverse=true)", ["c", "b"]),
        ("s.list|reverse", ["c", "b"]),
        ("'abc'|reverse", "cba"),
        ("s.list|batch(1)", [["b"], ["c"]]),
        ("s.list|slice(3, 'x')", [["b"], ["c"], ["x"]]),
        ("['b', 'B', 'a']|unique", ["b", "a"]),
        ("[{'a': 1}, {'a': 2}, {'a': 1}]|groupby('a')|map(attribute='grouper')", [1, 2]),
        ("([{'a': 1, 'b': 2}]|groupby('a'))[0].list[0].b", 2),
        ("[3, 1]|sum + [{'n': 2}]|sum(attribute='n', start=1)", 7),
        ("[3, 1]|min ~ [3, 1]|max", "13"),
        ("2.567|round(1)", 2.6),
        ("-3|abs", 3),
        ("'ff'|int(base=16)", 255),
        ("'nope'|int(7)", 7),
        ("'1.5'|float", 1.5),
        ("'a b'|title", "A B"),
        ("'a b c'|wordcount", 3),
        ("'  x '|trim", "x"),
        ("'xxaxx'|trim('x')", "a"),
        ("'abcdef'|truncate(5, true, '…', 0)", "abcd…"),
        ("'aXb'|lower|capitalize", "Axb"),
        ("'%s-%03d-%%'|format('a', 7)", "a-007-%"),
        ("'%(a)s'|format(a=1)", "1"),
        ("'%(x)s' % s", "a"),
        ("'%s' % 'x' + '%.2f' % 1.5", "x1.50"),
        ("'{} {b:>3}'.format('a', b=1)", "a   1"),
        ("'{0}{0!s}{1:05.1f}'.format('a', 2)", "aa002.0"),
        ("'a,b'.split(',')", ["a", "b"]),
        ("'a b  c'.split()", ["a", "b", "c"]),
        ("'a,b,c'.rsplit(',', 1)", ["a,b", "c"]),
        ("'a,b,c'.split(',', 1)", ["a", "b,c"]),
        ("'a\nb\n'.splitlines(true)", ["a\n", "b\n"]),
        ("' a '.strip() ~ ' a '.lstrip() ~ ' a '.rstrip()", "aa  a"),
        ("'xax'.strip('x')", "a"),
        ("','.join(s.list)", "b,c"),
        ("'aba'.replace('a', 'x', 1)", "xba"),
        ("'aba'|replace('a', 'x')", "xbx"),
        ("'abc'.startswith('a') and 'abc'.endswith('c')", True),
        ("'abc'.removeprefix('a').removesuffix('c')", "b"),
        ("'abc'.find('c') + 'aa'.count('a')", 4),
        ("'7'.isdigit()", True),
        ("s.list.count('b') + s.list.index('c')", 2),
        ("(1, 2).index(2)", 1),
        ("dict(s.tls, b=1)", {"key": "K", "b": 1}),
        ("{'a': 1}.get('b', 2) + {'a': 1}.a", 3),
        ("{'items': 1}['items']", 1),
        ("{1: 'a', none: 'b'}[1]", "a"),
        ("range(2, 8, 3)", [2, 5]),
        ("3 is odd and 4 is even and 9 is divisibleby(3)", True),
        ("'a' is lower and 'A' is upper", True),
        ("2 * 3 ** 2 % 5", 3),
        ("[0] * 2 + [1]", [0, 0, 1]),
        ("'ab' * 2", "abab"),
        ("true and not false", True),
    ],
)
def test_expressions_work_as_in_jinja(expression, expected):
    got = value(expression, {"x": "a", "tls": {"key": "K"}, "list": ["b", "c"]})
    assert (got, type(got)) == (expected, type(expected))


def test_a_filtered_value_has_its_origin():
    assert placeholder("s.x|upper", {"x": "a"}) == Placeholder("A", "a: x")
    assert placeholder("s.x|b64encode", {"x": "a"}).origin == "a: x"
    assert placeholder("s.x|indent", {"x": "a\nb"}).origin == "a: x"
    assert placeholder("s.x ~ ''", {"x": "a"}).origin == "an expression"


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("s.x|abs", "this filter or test takes a number; add `| int` or `| float`"),
        ("s.x is odd", "this filter or test takes a number; add `| int` or `| float`"),
        ("s.x|round", "this filter or test takes a number; add `| int` or `| float`"),
        ("[[1]]|sum(start=[])", "this filter or test takes a number; add `| int` or `| float`"),
        ("s.x|items", "this filter takes a secret or another mapping; loop over the list itself"),
        ("s.x ~ none", "null has no text form; add `| default('', true)`"),
        ("[none]|join", "null has no text form; add `| default('', true)`"),
        ("[1] ~ ''", "a list is not text; use a part of it, or add `| json`"),
        ("{}|string", "a dict is not text; use a part of it, or add `| json`"),
        ("'%s' % [1]", "a list is not text; use a part of it, or add `| json`"),
        ("s.x|format(s)", "a is a mapping, not text; name one of its keys, or add `| json`"),
        ("'{}'.format(s)", "a is a mapping, not text; name one of its keys, or add `| json`"),
        ("'{0.x}'.format(s)", "format() cannot access parts of a value; pass the part as its own argument"),
        ("{s: 1}", "a is a mapping, not text; name one of its keys, or add `| json`"),
        ("{(1, 2): 1}", "a tuple is not text; use a part of it, or add `| json`"),
        ("{true: 1, 1.5: 2, none: 3, ('x' if false): 4}", "a mapping's keys are strings and numbers; use one of them"),
        ("dict([[(1, 2), 3]])", "a tuple is not text; use a part of it, or add `| json`"),
        ("namespace()", "a Namespace cannot be in a file; use a part of it"),
        ("s.x.split", 'the expression is a function, not a value; use secret("…")["name"] for a key of that name'),
        ("joiner", 'the expression is a function, not a value; use secret("…")["name"] for a key of that name'),
    ],
)
def test_invalid_arguments_have_an_error_with_a_remedy(expression, error):
    assert error_of("{{ " + expression + " }}", {"x": "a"}) == f"app.j2:1: {error}"


@pytest.mark.no_cover
@pytest.mark.parametrize("name", sorted(FILTERS.keys() - {"d", "default"}))
def test_no_filter_accepts_a_missing_name(name):
    arguments = {"groupby": "('a')", "map": "('upper')", "rejectattr": "('a')", "selectattr": "('a')"}
    arguments |= {"batch": "(1)", "hmac_sha256": "('a')", "slice": "(1)"}
    assert "a has no such key: 'nope'" in error_of("{{ s.nope|" + name + arguments.get(name, "") + " }}")


@pytest.mark.parametrize("name", ["abs", "odd", "items", "dotenv"])
def test_a_missing_name_is_the_first_error(name):
    assert error_of("{{ s.nope|" + name + " }}" if name != "odd" else "{{ s.nope is odd }}").startswith(
        "app.j2:1: a has no such key: 'nope'"
    )


@pytest.mark.parametrize(
    "name", ["attr", "center", "e", "escape", "filesizeformat", "forceescape", "pprint", "random", "safe", "striptags",
             "urlize", "wordwrap", "xmlattr", "from_yaml"],
)  # fmt: skip
def test_the_list_of_filters_is_complete(name):
    assert error_of("{{ 1|" + name + " }}") == f"app.j2:1: unknown filter {name!r}"


@pytest.mark.parametrize("name", ["callable", "escaped", "filter", "test", "nope"])
def test_the_list_of_tests_is_complete(name):
    assert name not in TESTS
    assert error_of("{{ 1 is " + name + " }}") == f"app.j2:1: unknown test {name!r}"


# A certificate of many lines, and indent.


@pytest.mark.parametrize(
    "text",
    [
        "ca: {{ s.ca }}\n",
        "ca: {{ s.ca|indent(2) }}\n",
        "ca: |\n  {{ s.ca|indent(2) }}",
        "ca: |\n  {{ s.ca|indent(2)|indent(2) }}",
        "ca: |-\n    {{ s.ca|indent(4) }}\n\n",
        'ca: "{{ s.ca|indent }}"\n',
    ],
)
def test_a_certificate_in_yaml_is_unchanged_with_or_without_indentation(text):
    assert yaml.safe_load(file(text, "yaml", {"ca": PEM})) == {"ca": PEM}


def test_two_certificates_in_one_block_are_a_bundle():
    text = "ca: |\n  {{ s.ca|indent(2) }}\n  {{ s.ca|indent(2) }}\nb: 1\n"
    pem = PEM.strip()
    assert yaml.safe_load(file(text, "yaml", {"ca": pem})) == {"ca": f"{pem}\n{pem}\n", "b": 1}


def test_a_certificate_outside_yaml_is_indented_as_requested():
    indented = PEM.replace("\nM", "\n  M").replace("\na", "\n  a").replace("\n-", "\n  -")
    assert read_dotenv(file('CA="{{ s.ca|indent(2) }}"\n', "dotenv", {"ca": PEM}).decode()) == {"CA": indented}
    assert read_dotenv(file("CA={{ s.ca }}\n", "dotenv", {"ca": PEM}).decode()) == {"CA": PEM}
    assert json.loads(file('["{{ s.ca|indent(2) }}", {{ s.ca }}]', "json", {"ca": PEM})) == [indented, PEM]
    assert file("{{ s.ca|indent(2) }}", "text", {"ca": PEM}).decode() == indented


@pytest.mark.no_cover
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n")), st.integers(0, 9), st.booleans())
def test_indent_is_jinjas_for_lines_with_newlines(text, width, first):
    lines = text.split("\n")
    blanks = " " * width
    rest = [blanks + line if line else "" for line in lines[1:]]
    expected = "\n".join([blanks + lines[0] if first else lines[0], *rest])
    assert value(f"s.x|indent({width}, {first})", {"x": text}) == expected


def test_indent_accepts_any_text_and_then_changes_the_value():
    assert value("s.x|indent('# ', true, true)", {"x": "a\n\nb"}) == "# a\n# \n# b"
    assert yaml.safe_load(file("a: {{ s.x|indent('# ') }}", "yaml", {"x": "a\nb"})) == {"a": "a\n# b"}


def test_the_authors_own_text_becomes_a_value_when_it_is_indented():
    assert parts("{% set x %}a\nb{% endset %}{{ x|indent(1) }}") == [["a\n b"]]


# Booleans, numbers and null as text.


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("s.yes ~ '-' ~ false", "true-false"),
        ("s.yes | string", "true"),
        ("s.yes | trim", "true"),
        ("s.yes | upper", "TRUE"),
        ("s.yes | indent(2)", "true"),
        ("[s.yes, false] | join(true)", "truetruefalse"),
        ("','.join([s.yes, 1])", "true,1"),
        ("'%s %5s %r' % (s.yes, false, true)", "true false true"),
        ("'%(a)s %(a)d' % {'a': s.yes}", "true 1"),
        ("'%s %d' | format(s.yes, s.yes)", "true 1"),
        ("'{} {a!s:>5} {a!r}'.format(s.yes, a=false)", "true false false"),
        ("'{0:d}'.format(s.yes)", "1"),
        ("'yes' | replace('yes', s.yes)", "true"),
        ("'yes'.replace('yes', s.yes)", "true"),
        ("[s.yes] | map('string') | first", "true"),
        ("'%s' % 12345", "12345"),
    ],
)
def test_a_boolean_is_written_as_in_json_wherever_it_becomes_text(expression, wanted):
    assert value(expression, {"yes": True}) == wanted


def test_a_boolean_that_is_a_key_is_written_as_in_json():
    mapping = "{s.yes: 1, false: 2, 3: 4}"
    for written in (f"{mapping} | json", f"{mapping} | yaml", mapping):
        text = file("{{ " + written + " }}", "yaml", {"yes": True})
        assert yaml.safe_load(text) == {"true": 1, "false": 2, "3": 4}
    assert file("{{ " + mapping + " | dotenv }}", "text", {"yes": True}) == b"true=1\nfalse=2\n3=4"


def test_keys_that_become_one_name_or_none_are_rejected():
    assert "two keys with the same name" in error_of("{{ {true: 1, 'true': 2} | json }}")
    assert "two keys with the same name" in error_of("{{ {'a': {1: 1, '1': 2}} }}")
    assert "has null as a key" in error_of("{{ {none: 1} | json }}")


@pytest.mark.parametrize(
    "expression", ["{x} ~ ''", "{x} | string", "{x} | trim", "[{x}] | join", "'%s' % {x}", "'{{}}'.format({x})"]
)
def test_null_and_nan_never_become_text(expression):
    assert "null has no text form" in error_of("{{ " + expression.format(x="s.none") + " }}", {"none": None})
    for odd in (math.inf, math.nan):
        error = error_of("{{ " + expression.format(x="s.odd") + " }}", {"odd": odd})
        assert "NaN and infinity have no text form" in error


@pytest.mark.parametrize("of", ["s", "s.list", "{}", "'abc'"])
def test_a_subscript_that_is_null_is_reported(of):
    error = error_of("{{ " + of + "[s.none] }}", {"none": None, "list": []})
    assert error == "app.j2:1: the expression between [ and ] is null; add `| default('…', true)` to it"


# What the table of filters in templates/README.md says of formats.


@pytest.mark.parametrize("name", ["json", "tojson"])
@pytest.mark.parametrize(
    ("format", "before", "after"), [("json", '{"x": ', "}"), ("yaml", "x: ", "\n"), ("toml", "x = ", "\n")]
)
def test_json_is_a_structure_in_a_format_with_structures(name, format, before, after):  # noqa: A002
    data = {"list": [1, {"a": "ü\n", "b": True}]}
    read = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}[format]
    text = file(before + "{{ s.list | " + name + " }}" + after, format, data).decode()
    assert read(text) == {"x": data["list"]}
    quoted = file(before + '"{{ s.list | ' + name + ' }}"' + after, format, data).decode()
    assert json.loads(read(quoted)["x"]) == data["list"]


def test_yaml_is_a_structure_only_in_yaml():
    assert yaml.safe_load(file("x: {{ s | yaml }}\n", "yaml", {"a": [1]})) == {"x": {"a": [1]}}
    assert json.loads(file('{"x": {{ s | yaml }}}', "json", {"a": [1]})) == {"x": "a:\n- 1"}


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "name",
    ["dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker", "sh", "systemd", "properties", "toml"],
)
def test_a_whole_secret_is_lines_in_every_format_that_has_them(name):
    text = file("{{ s | dotenv }}\n", name, {"A": "x", "b": "y z"}).decode()
    assert [line.replace("'", "").replace('"', "") for line in text.splitlines()] == ["A=x", "b=y z"]
    assert file("[s]\n{{ s | dotenv }}\n", "ini", {"A": "x", "b": "y z"}) == b"[s]\nA=x\nb=y z\n"
