"""The parser of Go templates, which follows text/template."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import TemplateError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.golang import nodes as go
from lessee.ops.migrate.policy.golang.parser import parse


def parse_text(text, left="", right=""):
    return parse(Text(text, "t.ctmpl", 1), left, right)


def texts(body):
    return [node.text for node in body if isinstance(node, go.Literal)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {{ 1 }} b", ["a ", " b"]),
        ("a \n{{- 1 -}}\t\r\n b", ["a", "b"]),
        ("a {{-1 }} b {{ 1 -}} c", ["a ", " b ", "c"]),
        ("a {{/* {{ x }} */}} b", ["a ", " b"]),
        ("a {{- /* x */ -}} b", ["a", "b"]),
        ("\u00a0{{- 1 }}", ["\u00a0", ""]),
    ],
)
def test_trim_markers_remove_white_space(text, expected):
    assert texts(parse_text(text).body) == expected


def test_custom_delimiters():
    assert texts(parse_text("{{ a }} [[ 1 ]] }}", "[[", "]]").body) == ["{{ a }} ", " }}"]


def test_all_kinds_of_operands_are_parsed():
    [_, output, _] = parse_text("{{ f . .a.b $ (g 1).c \"s\\n\" `r\\n` 0x1f '\\n' -2.5e1 nil true | h }}").body
    f, h = output.pipe.commands
    assert f == (
        go.Function("f"),
        go.Dot(),
        go.Field(("a", "b")),
        go.Variable(""),
        go.Chain(go.Pipe(((go.Function("g"), go.Constant(1)),)), ("c",)),
        *map(go.Constant, ("s\n", "r\\n", 31, 10, -25.0, None, True)),
    )
    assert h == (go.Function("h"),)


def test_variables_are_declared_and_assigned():
    body = parse_text("{{ $x := 1 }}{{ $x = 2 }}{{ range $i, $v := $x }}{{ $i }}{{ $v.a }}{{ end }}").body
    outputs = [node for node in body if isinstance(node, go.Output)]
    assert [(node.pipe.names, node.pipe.assigns) for node in outputs] == [(("x",), False), (("x",), True)]
    [loop] = [node for node in body if isinstance(node, go.Range)]
    assert loop.pipe.names == ("i", "v")


def test_templates_are_defined_and_called():
    template = parse_text('{{ define "a" }}x{{ end }}{{ template "a" }}{{ template `a` 1 }}{{ block "b" . }}y{{ end }}')
    assert {name: texts(body) for name, body in template.definitions.items()} == {"a": ["x"], "b": ["y"]}
    calls = [node for node in template.body if isinstance(node, go.TemplateCall)]
    assert [(call.name, call.pipe is None) for call in calls] == [("a", True), ("a", False), ("b", False)]


def test_an_action_has_its_line():
    [_, output, _] = parse_text("a\nb\n{{ 1 }}").body
    assert output.origin == go.Origin("{{ 1 }}", 3)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("\n{{ a", "2: unclosed action; close it with }}"),
        ("{{ (a }}", "1: unclosed ("),
        ("{{ a) }}", "1: unexpected )"),
        ('{{ "a }}', "1: unterminated string"),
        ("{{ ` }}", "1: unterminated string"),
        ("{{ ' }}", "1: unterminated string"),
        ("{{ ~ }}", "1: unexpected '~' in an action"),
        ("{{ a+b }}", "1: unexpected '+' after 'a'; put a space between them"),
        ("{{/* a }}", "1: unclosed comment"),
        ("{{/* a */ b }}", "1: expected }} after the */ of a comment"),
        ("{{ }}", "1: expected a value"),
        ("{{ if }}x{{ end }}", "1: expected a value"),
        ("{{ a | | b }}", "1: expected a value"),
        ("{{ if 1 }}\nx", "1: unclosed block; close it with {{ end }}"),
        ("{{ end }}", "1: unexpected {{ end }}"),
        ("{{ else }}", "1: unexpected {{ else }}"),
        ("{{ if 1 }}{{ else }}\n{{ else }}{{ end }}", "2: the block has a second else"),
        ("{{ if 1 }}{{ else with 1 }}{{ end }}", "1: unexpected else with"),
        ("{{ range . }}{{ else range . }}{{ end }}", "1: unexpected else range"),
        ("{{ if 1 }}{{ else 1 }}{{ end }}", "1: unexpected '1'"),
        ("{{ if 1 }}{{ end 1 }}", "1: unexpected '1'"),
        ('{{ define "a" }}{{ else }}{{ end }}', "1: a define cannot have an else"),
        ("{{ define a }}{{ end }}", "1: define expects a name in quotes"),
        ("{{ template }}", "1: template expects a name in quotes"),
        ("{{ break }}", "1: unexpected break"),
        ("{{ range . }}{{ break 1 }}{{ end }}", "1: unexpected '1'"),
        ("{{ $x }}", "1: undefined variable $x"),
        ("{{ if $x := 1 }}{{ end }}{{ $x }}", "1: undefined variable $x"),
        ("{{ $x, $y := 1 }}", "1: undefined variable $x"),
        ("{{ 1.x }}", "1: unexpected 'x' after '1.'"),
        ("{{ nil.x }}", "1: unexpected .x"),
        ('{{ "a"."b" }}', "1: expected a space before '.'"),
        ('{{ "a""b" }}', """1: expected a space before '"b"'"""),
        ("{{ a | 1 }}", "1: expected a function after |"),
        ("{{ (a := b) }}", "1: unexpected ':='"),
        ("{{ a if }}", "1: unexpected 'if'"),
        ('{{ "\\q" }}', "1: a string contains a backslash that does not begin an escape sequence"),
        ("{{ 0x }}", "1: unexpected 'x' after '0'"),
        ("{{ 089 }}", "1: invalid number 089"),
        ("{{ 1e999 }}", "1: invalid number 1e999"),
        ("{{ 'ab' }}", "1: invalid number 'ab'"),
        ("{{ if 1 }}" * 60, "more than 50 deep"),
        ("{{ " + "(" * 60 + "1" + ")" * 60 + " }}", "more than 50 deep"),
        ("{{ (1 | 2 }}", "1: unclosed ("),
    ],
)
def test_an_invalid_template_is_an_error_with_its_line(text, error):
    with pytest.raises(TemplateError) as caught:
        parse_text(text)
    assert str(caught.value).startswith("t.ctmpl:")
    assert error in str(caught.value)


ACTIONS = st.sampled_from(
    "{{ }} {{- -}} if range with end else define block template := = | ( ) . , .a $ $x a ` ' 1 0x1 /* */ nil".split()  # noqa: SIM905
)
BLANKS = st.sampled_from(["", " ", "\n"])


@pytest.mark.no_cover
@given(st.lists(st.tuples(ACTIONS, BLANKS).map("".join), max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_parsed_or_rejected_with_its_line(text):
    assert re.match(r"t.ctmpl:[0-9]+: |\Z", error_of(text))


def error_of(text):
    try:
        parse_text(text)
    except TemplateError as exc:
        return str(exc)
    return ""


@pytest.mark.no_cover
@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_one_literal(text):
    assert texts(parse_text(text).body) == [text]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30))
def test_any_string_literal_is_parsed(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    [_, output, _] = parse_text(f'{{{{ "{escaped}" }}}}').body
    assert output.pipe.commands == ((go.Constant(text),),)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{{ if secret "secret/data/a" }}x{{ end }}', '{% if secret("a") is mapping %}x{% endif %}'),
        ('{{ if not (secret "db/creds/a") }}x{{ end }}', '{% if not dynamic("db/creds/a") is mapping %}x{% endif %}'),
        ('a{{ with secret "secret/data/a" }}x{{ end }}', 'a{% if secret("a") is mapping %}x{% endif %}'),
        ('{{ $s := secret "secret/data/a" }}x', '{% if secret("a") is mapping %}{% endif %}x'),
        (
            '{{ with pkiCert "pki/issue/a" }}x{{ end }}',
            '{% if certificate("pki/issue/a") is mapping %}x{% endif %}',
        ),
        (
            '{{ with secret "secret/data/a" }}{{ .Data.data.b | writeToFile "/run/x/y" "" "" "0600" }}{{ end }}',
            "",
        ),
    ],
)
def test_a_secret_that_is_not_written_is_read_as_the_other_agent_waits_for_it(imported, template, expected):
    found = imported("t.ctmpl", template)
    assert found.files["t.j2" if "t.j2" in found.files else "t/t.j2"] == expected
    assert not found.losses


def test_a_written_file_has_the_variables_of_its_template(imported):
    text = '{{ $x := env "A" | toUpper }}{{ scratch.Set "k-1" $x }}{{ if $x }}a{{ scratch.Set "k.1" "b" }}{{ end }}'
    found = imported("t.ctmpl", text + '{{ scratch.Get "k.1" | writeToFile "/run/x/y" "" "" "0600" }}')
    statements = '{% set scratch = namespace() %}{% set x = env("A", "") | upper %}{% set scratch.k_1 = x %}{% if x %}'
    assert found.files["x/y.j2"] == statements + '{% set scratch.k_1_ = "b" %}{% endif %}{{ scratch.k_1_ }}'
    assert found.files["t/t.j2"] == statements + 'a{% set scratch.k_1_ = "b" %}{% endif %}'


def test_a_key_of_scratch_that_begins_with_a_digit_is_an_attribute_too(imported):
    found = imported("t.ctmpl", '{{ scratch.Set "1" 2 }}{{ scratch.Set "" 3 }}{{ scratch.Get "1" }}')
    assert "{% set scratch.x1 = 2 %}{% set scratch.value = 3 %}{{ scratch.x1 }}" in found.files["t.j2"]
