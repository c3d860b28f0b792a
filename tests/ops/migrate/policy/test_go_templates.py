"""Go's templates, read as text/template reads them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import TemplateError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.golang import nodes as go
from lessee.ops.migrate.policy.golang.parser import parse


def read(text, left="", right=""):
    return parse(Text(text, "t.ctmpl", 1), left, right)


def texts(body):
    return [node.text for node in body if isinstance(node, go.Literal)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a {{ 1 }} b", ["a ", " b"]),
        ("a \n{{- 1 -}}\t\r\n b", ["a", "b"]),
        ("a {{-1 }} b {{ 1 -}} c", ["a ", " b ", "c"]),
        ("a {{/* {{ x }} */}} b", ["a ", " b"]),
        ("a {{- /* x */ -}} b", ["a", "b"]),
        ("\u00a0{{- 1 }}", ["\u00a0", ""]),
    ],
)
def test_white_space_is_cut_as_the_marks_say(text, wanted):
    assert texts(read(text).body) == wanted


def test_delimiters_may_be_others():
    assert texts(read("{{ a }} [[ 1 ]] }}", "[[", "]]").body) == ["{{ a }} ", " }}"]


def test_operands_are_what_they_are():
    [_, output, _] = read("{{ f . .a.b $ (g 1).c \"s\\n\" `r\\n` 0x1f '\\n' -2.5e1 nil true | h }}").body
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


def test_variables_are_declared_and_set():
    body = read("{{ $x := 1 }}{{ $x = 2 }}{{ range $i, $v := $x }}{{ $i }}{{ $v.a }}{{ end }}").body
    outputs = [node for node in body if isinstance(node, go.Output)]
    assert [(node.pipe.names, node.pipe.assigns) for node in outputs] == [(("x",), False), (("x",), True)]
    [loop] = [node for node in body if isinstance(node, go.Range)]
    assert loop.pipe.names == ("i", "v")


def test_templates_are_defined_and_taken_in():
    read_ = read('{{ define "a" }}x{{ end }}{{ template "a" }}{{ template `a` 1 }}{{ block "b" . }}y{{ end }}')
    assert {name: texts(body) for name, body in read_.defined.items()} == {"a": ["x"], "b": ["y"]}
    calls = [node for node in read_.body if isinstance(node, go.Call)]
    assert [(call.name, call.pipe is None) for call in calls] == [("a", True), ("a", False), ("b", False)]


def test_an_action_knows_its_line():
    [_, output, _] = read("a\nb\n{{ 1 }}").body
    assert output.head == go.Head("{{ 1 }}", 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n{{ a", "2: an action is not closed; close it with }}"),
        ("{{ (a }}", "1: a ( is not closed"),
        ("{{ a) }}", "1: a ) closes nothing"),
        ('{{ "a }}', "1: a string is not closed"),
        ("{{ ` }}", "1: a string is not closed"),
        ("{{ ' }}", "1: a string is not closed"),
        ("{{ ~ }}", "1: '~' has no place in an action"),
        ("{{ a+b }}", "1: behind 'a' stands '+'; put a blank between them"),
        ("{{/* a }}", "1: a comment is not closed"),
        ("{{/* a */ b }}", "1: behind the */ of a comment its action must end"),
        ("{{ }}", "1: a value is missing"),
        ("{{ if }}x{{ end }}", "1: a value is missing"),
        ("{{ a | | b }}", "1: a value is missing"),
        ("{{ if 1 }}\nx", "1: this is not closed; close it with an end"),
        ("{{ end }}", "1: this end belongs to nothing"),
        ("{{ else }}", "1: this else belongs to nothing"),
        ("{{ if 1 }}{{ else }}\n{{ else }}{{ end }}", "2: a second else"),
        ("{{ if 1 }}{{ else with 1 }}{{ end }}", "1: an else with has no place here"),
        ("{{ range . }}{{ else range . }}{{ end }}", "1: an else range has no place here"),
        ("{{ if 1 }}{{ else 1 }}{{ end }}", "1: '1' has no place here"),
        ("{{ if 1 }}{{ end 1 }}", "1: '1' has no place here"),
        ('{{ define "a" }}{{ else }}{{ end }}', "1: a define has no else"),
        ("{{ define a }}{{ end }}", "1: define wants a name in quotes"),
        ("{{ template }}", "1: template wants a name in quotes"),
        ("{{ break }}", "1: break has no place here"),
        ("{{ range . }}{{ break 1 }}{{ end }}", "1: '1' has no place here"),
        ("{{ $x }}", "1: there is no variable $x"),
        ("{{ if $x := 1 }}{{ end }}{{ $x }}", "1: there is no variable $x"),
        ("{{ $x, $y := 1 }}", "1: there is no variable $x"),
        ("{{ 1.x }}", "1: behind '1.' stands 'x'"),
        ("{{ nil.x }}", "1: .x has no place here"),
        ('{{ "a"."b" }}', "1: before '.' a blank is missing"),
        ('{{ "a""b" }}', """1: before '"b"' a blank is missing"""),
        ("{{ a | 1 }}", "1: behind a | must stand a function"),
        ("{{ (a := b) }}", "1: ':=' has no place here"),
        ("{{ a if }}", "1: 'if' has no place here"),
        ('{{ "\\q" }}', "1: a string holds a backslash that begins no escape"),
        ("{{ 0x }}", "1: behind '0' stands 'x'"),
        ("{{ 089 }}", "1: 089 is no number"),
        ("{{ 1e999 }}", "1: 1e999 is no number"),
        ("{{ 'ab' }}", "1: 'ab' is no number"),
        ("{{ if 1 }}" * 60, "more than 50 deep"),
        ("{{ " + "(" * 60 + "1" + ")" * 60 + " }}", "more than 50 deep"),
        ("{{ (1 | 2 }}", "1: a ( is not closed"),
    ],
)
def test_what_is_broken_is_told_with_its_line(text, told):
    with pytest.raises(TemplateError) as caught:
        read(text)
    assert str(caught.value).startswith("t.ctmpl:")
    assert told in str(caught.value)


ACTIONS = st.sampled_from(
    "{{ }} {{- -}} if range with end else define block template := = | ( ) . , .a $ $x a ` ' 1 0x1 /* */ nil".split()  # noqa: SIM905
)
BLANKS = st.sampled_from(["", " ", "\n"])


@given(st.lists(st.tuples(ACTIONS, BLANKS).map("".join), max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_line(text):
    assert re.match(r"t.ctmpl:[0-9]+: |\Z", refusal(text))


def refusal(text):
    try:
        read(text)
    except TemplateError as exc:
        return str(exc)
    return ""


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_itself(text):
    assert texts(read(text).body) == [text]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30))
def test_any_string_is_read_as_it_is(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    [_, output, _] = read(f'{{{{ "{escaped}" }}}}').body
    assert output.pipe.commands == ((go.Constant(text),),)
