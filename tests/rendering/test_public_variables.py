"""Public variables of a frontend build must be listed by name, whatever template sets them."""

import time

import pytest

from lessee.core.errors import FormatError
from lessee.core.path_scope import PathScope
from lessee.core.secrets import Secret
from lessee.rendering import public_variables
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.public_variables import public_names, public_variables_in, refuse_public
from lessee.rendering.render import render_environment
from lessee.rendering.templates import Compiler, Renderer

SPACE = PathScope("secret")
DATA = {"key": "canary-key", "url": "https://a.example/?q=1", "name": "VITE_NAME", "empty": ""}
S = '{% set s = secret("a") %}'


def document(text, data=DATA):
    compiled = Compiler({"x.j2": text}.__getitem__, SPACE).compile("x.j2")
    return Renderer(SPACE, {need: Secret(data) for need in compiled.references}, {}, {}, {"HOME": "/"}).render(compiled)


def taken(text, form="dotenv"):
    return [(one.variable, one.line, one.origin) for one in public_variables_in(document(S + text), form)]


KEY = "a: key"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("VITE_A={{ s.key }}\n", [("VITE_A", 1, KEY)]),
        ("A=1\nexport REACT_APP_A = '{{ s.url }}'\n", [("REACT_APP_A", 2, "a: url")]),
        ("VITE_A=x-{{ s.key }}-{{ s.url }}\n", [("VITE_A", 1, KEY), ("VITE_A", 1, "a: url")]),
        ("VITE_A={{ s.empty }}", [("VITE_A", 1, "a: empty")]),
        ('VITE_A="1\nB={{ s.key }}"\n', [("VITE_A", 1, KEY)]),
        ('VITE_A="a \'b" B={{ s.key }}\n', [("VITE_A", 1, KEY)]),
        ("{{ s.name }}={{ s.key }}\n", [("VITE_NAME", 1, KEY)]),
        ("VITE_{{ s.name }}={{ s.key }}\n", [("VITE_VITE_NAME", 1, KEY)]),
        ("VITE_A={{ s.key | b64encode }}\n", [("VITE_A", 1, KEY)]),
        ('VITE_A={{ s.key ~ "x" }}\n', [("VITE_A", 1, "an expression")]),
        ('VITE_A={{ env("HOME") }}\n', [("VITE_A", 1, "an expression")]),
        ("KEY={{ s.key }}\nVITE_A=${KEY}\n", [("VITE_A", 2, KEY)]),
        ("VITE_A=$B\nB=x$C\nC={{ s.key }}\n", [("VITE_A", 1, KEY)]),
        ("VITE_A=$B\nB=$VITE_A\n", []),
        ("VITE_A=1\nB={{ s.key }}\n", []),
        ("VITE_A=1 # it's {{ s.key }}\nB={{ s.key }}", [("VITE_A", 1, KEY)]),
        ("VITE_A=1 # it's\nB={{ s.key }}\n", []),
        ("VITE_A=Bob's\nB='{{ s.key }}'\n", []),
        ("VITE_A=1 # the end", []),
        ("VITE_A=\\\nB={{ s.key }}\n", [("VITE_A", 1, KEY)]),
        ("MY_VITE_A={{ s.key }}\nA=VITE_\n", []),
        ("A={{ s.key }}\n", []),
    ],
)
def test_a_public_variable_is_reported_with_all_its_values(text, found):
    assert taken(text) == found


def test_a_variable_whose_name_is_a_key_of_a_secret_is_reported():
    rendered = document('{{ secret("a") | dotenv }}\n', {"A": "1", "VITE_NAME": "canary"})
    assert [(one.variable, one.origin) for one in public_variables_in(rendered, "dotenv")] == [
        ("VITE_NAME", "a: VITE_NAME")
    ]


@pytest.mark.parametrize("text", ["A=1; VITE_A={{ s.key }} npm run build\n", 'VITE_A=a"\n{{ s.key }}"\n'])
def test_in_a_script_a_public_name_may_be_anywhere_on_a_line(text):
    assert taken(text, "sh") == [("VITE_A", 1, KEY)]


@pytest.mark.parametrize("form", ["xml", "nginx"])
def test_formats_without_variables_have_no_public_variables(form):
    assert taken("VITE_A={{ s.key }}\n", form) == []


@pytest.mark.parametrize("form", ["json", "yaml", "toml", "text"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"VITE_A": "{{ s.key }}"}\n', [("VITE_A", 1, KEY)]),
        ('{\n"VITE_A" : {{ s.key }},\n "B": {{ s.url }} }\n', [("VITE_A", 2, KEY)]),
        ('{"VITE_A": 1, "B": {{ s.url }} }\n', []),
        ('{"VITE_A": "a, b", "B": {{ s.url }} }\n', []),
        ('{"VITE_A": {"x": 1,\n "B": {{ s.url }} }, "C": {{ s.key }} }\n', [("VITE_A", 1, "a: url")]),
        ('{"VITE_A":\n [{{ s.url }}, {{ s.key }}]}\n', [("VITE_A", 2, "a: url"), ("VITE_A", 2, KEY)]),
        ("window.VITE_A = '{{ s.key }}';\n", [("VITE_A", 1, KEY)]),
        ('window["VITE_A"] = f("\\"", {{ s.key }}) + {{ s.key }};\n', [("VITE_A", 1, KEY)]),
        ('if (VITE_A == 1) { B = "{{ s.key }}" }\n', []),
        ("VITE_A: {{ s.key }}\nB: {{ s.url }}\n", [("VITE_A", 1, KEY)]),
        ("VITE_A = {{ s.key }}", [("VITE_A", 1, KEY)]),
        ("VITE_A: 1\n", []),
        ("VITE_A: it's\nB: {{ s.key }}'\n", []),
        ("VITE_A: (it's\n{{ s.key }}\n", [("VITE_A", 1, KEY)]),
        ("VITE_A = `1,\n{{ s.key }}`\n", [("VITE_A", 1, KEY)]),
        ("app.VITE_A = {{ s.key }}\n", [("VITE_A", 1, KEY)]),
        ("MY_VITE_A: {{ s.key }}\n", []),
        ('"VITE_{{ s.name }}": {{ s.key }}\n', [("VITE_VITE_NAME", 1, KEY)]),
        ('\n{{ {"a": [{"VITE_A": s.key, "B": 1}], "c": "VITE_C=1"} | json(2) }};\n', [("VITE_A", 2, "an expression")]),
        ('{{ {"VITE_A": s.key} | yaml }}', [("VITE_A", 1, "an expression")]),
        ('{{ {"A": s.key} | json }}', []),
        ('{{ {"A": "x VITE_B: 1"} | json }}', []),
    ],
)
def test_in_a_document_a_public_name_is_reported_with_the_value_that_it_has(form, text, found):
    assert taken(text, form) == found


def test_a_secret_that_is_written_as_a_whole_sets_each_public_name_in_it():
    rendered = document('{"app": {{ secret("a") }} }\n', {"A": "1", "VITE_NAME": "canary", "NEXT_PUBLIC_X": "canary"})
    found = [(one.variable, one.origin) for one in public_variables_in(rendered, "json")]
    assert found == [("VITE_NAME", "a"), ("NEXT_PUBLIC_X", "a")]


def test_the_keys_of_a_value_are_part_of_it_and_no_error_prints_them():
    data = {"blob": '{"VITE_canary": {"x": "1", "PUBLIC_canary": 1}, "A": ["VITE_canary"]}'}
    rendered = document('\n{{ secret("a").blob | fromjson | json }}\n', data)
    with pytest.raises(FormatError, match=r"x\.j2:2: VITE_… takes .*, PUBLIC_… takes .*\[VITE_…, PUBLIC_…\]") as caught:
        refuse_public(rendered, "text", {"A"})
    assert "canary" not in str(caught.value)
    refuse_public(rendered, "text", {"VITE_canary", "PUBLIC_canary"})


def test_all_public_variables_that_are_not_listed_are_in_the_error():
    rendered = document(S + "A=1\nVITE_A={{ s.key }}\nVITE_B={{ s.url }}{{ s.key }}\nVITE_C={{ s.url }}\n")
    with pytest.raises(FormatError) as caught:
        refuse_public(rendered, "dotenv", {"VITE_C"})
    assert str(caught.value) == (
        "x.j2:2: VITE_A takes a: key, VITE_B takes a: url and a: key: a build makes variables with this prefix public; "
        "remove it; if the value is not secret, add `public_variables: [VITE_A, VITE_B]` to the app"
    )
    assert "canary" not in str(caught.value)
    refuse_public(rendered, "dotenv", {"VITE_A", "VITE_B", "VITE_C"})


def test_the_environment_of_a_child_has_public_variables_only_if_they_are_listed():
    rendered = document(S + "VITE_A={{ s.key }}\n", {"key": "canary"})
    assert render_environment(rendered, {}, {"VITE_A"}) == (("VITE_A", "canary"),)
    with pytest.raises(FormatError, match="VITE_A takes a: key"):
        render_environment(rendered, {}, ())


UNCLOSED = "NEXT_PUBLIC_A={\n" * 20_000
"""Each value of a public name would be read to the end of the text."""


def test_unclosed_objects_by_the_thousand_count_as_open():
    names = list(public_names(UNCLOSED))
    assert len(names) == 20_000
    assert {end for _, _, end in names} == {len(UNCLOSED)}


@pytest.mark.long
def test_unclosed_objects_by_the_thousand_take_no_time():
    began = time.process_time()
    list(public_names(UNCLOSED))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("VITE_A=1\nB=" + " B=" * 400 + "\nVITE_C=1\n", 0),
        ("".join(f"A{n + 1}=$A{n}\nVITE_{n}=$A{n}\n" for n in range(200)) + "VITE_C=1\n", 1),
    ],
)
def test_a_file_with_too_many_variables_within_variables_is_refused_rather_than_read_for_hours(
    text, share, monkeypatch
):
    found = Document("a.j2", ("Z=", Placeholder("p", "a: key"), "\n" + text))
    assert "VITE_C" not in {one.variable for one in public_variables_in(found, "dotenv")}
    monkeypatch.setattr(public_variables, "_FEWEST_STEPS", (share - 2) * len(text))
    assert "VITE_C" in {one.variable for one in public_variables_in(found, "dotenv")}


def test_an_error_names_some_of_many_public_variables():
    found = document(S + "".join(f"VITE_{n}={{{{ s.key }}}}\n" for n in range(30)), {"key": "canary"})
    with pytest.raises(FormatError, match="VITE_19 takes a: key, …: a build"):
        refuse_public(found, "dotenv", ())


def test_a_value_in_a_large_document_ends_where_it_does_in_a_small_one():
    text = "A: 1\n" * 100_000 + "VITE_A: 1\nB: 2\n"
    assert [(name, text[begin:end]) for name, begin, end in public_names(text)] == [("VITE_A", "1")]
