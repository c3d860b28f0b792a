"""What cannot be carried over is told, and marked where it stood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.parsing import parse
from lessee.core.errors import TemplateError
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from lessee.rendering.app_templates import compile_recipes, space_of
from lessee.rendering.templates import Compiler

NAMES = '{{ range secrets "secret/metadata/a" }}%s{{ end }}'
WITH = '{{ with secret "secret/data/db" }}%s{{ end }}'


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ timestamp }}", "timestamp gives another time at each rendering"),
        ('{{ key "a" }}', "key reads Consul or Nomad, and lessee reads Vault alone"),
        ('{{ range service "web" }}{{ .Address }}{{ end }}', "service reads Consul or Nomad"),
        ('{{ plugin "x" }}', "plugin reaches outside the template"),
        ('{{ file "/x" }}', "file reaches outside the template"),
        ('{{ regexReplaceAll "a" "b" "c" }}', "the function regexReplaceAll has no counterpart"),
        ("{{ nonsense }}", "the function nonsense has no counterpart"),
        ('{{ scratch.Set "a" 1 }}', "scratch has no counterpart"),
        ("{{ scratch.Key }}", "scratch has no counterpart"),
        ("{{ toUpper }}", "toUpper takes 1 arguments and gets 0"),
        ('{{ secret "secret/data/db" | toJSON }}', "a whole answer of Vault"),
        ('{{ secret "secret/data/a\u2028b" }}', "names no secret in a KV mount"),
        ('{{ secret "x/creds/a\u2028b" }}', "is no path of what Vault makes"),
        (
            '{{ secret "secret/data/db" }}{{ secret "secret/make/a" "b=c" }}',
            "lies in 'secret', where the KV",
        ),
        ('{{ env "A"' + ' | split ","' * 40 + " }}", "an expression around split becomes too long"),
        ('{{ printf "%05s" "a" }}', "printf's %05s writes zeros before a text"),
        ('{{ 1.5 | divide 2 }}{{ printf "%v" (5 | multiply 1.5) }}', "a floating-point number"),
        ("{{ toUpper timestamp }}", "timestamp gives another time at each rendering"),
        ("{{ . }}", "the dot is nil here"),
        ("{{ .a }}", "the dot is nil here"),
        ("{{ $ }}", "the dot is nil here"),
        ("{{ 1 2 }}", "a value is called as if it were a function"),
        ("{{ nil }}", "nil has no text"),
        ("{{ 1.5 }}", "a floating-point number"),
        ('{{ parseFloat "1" }}', "a floating-point number"),
        ('{{ split "," "a,b" }}', "Go writes a list in a way of its own"),
        ('{{ secret "secret/data/db" }}', "a whole answer of Vault"),
        ("{{ secret }}", "the function secret has no counterpart"),
        ('{{ secret " / " }}', "names no secret in a KV mount"),
        ('{{ secret "secret" }}', "'secret' names no secret in a KV mount"),
        ('{{ secret "secret/a//b" }}', "names no secret in a KV mount"),
        (WITH % "{{ .Data }}", "the whole .Data of 'secret/data/db' holds its metadata too"),
        (WITH % "{{ .Data.data }}", "Go writes a map in a way of its own"),
        (WITH % "{{ .Data.metadata.version }}", "the metadata of 'secret/data/db' is not for templates"),
        (WITH % "{{ .Data.password }}", "is of KV version 2, and has no .Data.password"),
        (WITH % "{{ .LeaseID }}", ".LeaseID is not for templates"),
        (WITH % "{{ .Nonsense }}", "there is no .Nonsense here"),
        (WITH % "{{ index . 1 }}", "there is nothing to be looked up here"),
        (WITH % '{{ printf "%d" .Data.data.a }}', "printf's %d writes this value in a way of Go's own"),
        ('{{ printf "%s" 1 }}', "printf's %s writes this value in a way of Go's own"),
        ('{{ printf "%U" "a" }}', "printf's %U writes"),
        ('{{ printf "%5v" true }}', "printf's %5v writes"),
        ('{{ printf "%s" }}', "has more verbs than values"),
        ('{{ printf "a" 1 }}', "and its values do not fit"),
        ('{{ printf "%" }}', "and its values do not fit"),
        ('{{ printf "%#v" "a" }}', "and its values do not fit"),
        ('{{ printf (env "A") }}', "the function printf has no counterpart"),
        ('{{ eq "a" }}', "eq and ne compare two values"),
        ('{{ ne "a" "b" "c" }}', "eq and ne compare two values"),
        ('{{ secret (printf "secret/data/%s" (toUpper "a")) }}', "the path of a secret is computed"),
        ('{{ secret (env "A") }}', "names no secret"),
        ('{{ secret "kv/a" }}' + WITH % "{{ .Data.data.a }}" + WITH % "", "lies in another KV mount than 'secret'"),
        (
            '{{ with secret "transit/decrypt/a" "ciphertext=x" }}{{ .Data.plaintext }}{{ end }}',
            "neither a KV secret nor has",
        ),
        ('{{ with secret "pki/cert/ca" }}{{ .Data.certificate }}{{ end }}', "neither a KV secret nor has it a lease"),
        ('{{ secret "pki/issue/a" (env "A") }}', "a parameter of what is asked for is computed"),
        ('{{ secret "pki/issue/a" "common name=x" }}', "the parameter 'common name' cannot be given to certificate()"),
        ('{{ secret "pki/issue/a" "key=x" }}', "the parameter 'key' cannot be given to certificate()"),
        ('{{ secret "x/make/a" "method=x" }}', "the parameter 'method' cannot be given to dynamic()"),
        ('{{ secret "x/make/a" "a" }}', "the parameter 'a' cannot be given to dynamic()"),
        ('{{ secret (printf "%s/creds/a" (env "A")) }}', "the path '${A}/creds/a' is computed"),
        ('{{ with pkiCert "pki/issue/a" "common_name=a" }}{{ .Other }}{{ end }}', "there is no .Other here"),
        ("{{ range 3 }}{{ break }}{{ end }}", "Jinja has no break and no continue"),
        ('{{ range "a" }}{{ . }}{{ end }}', "a range goes over a text or a number"),
        ("{{ $i := 0 }}{{ range $i = loop 3 }}{{ end }}", "the variables of a range are set elsewhere too"),
        ("{{ range $i := loop 3 }}{{ $i = 1 }}{{ end }}", "the variables of a range are set elsewhere too"),
        ('{{ $x := timestamp }}{{ $x = "a" }}', "$x is set, and what it was is not carried over"),
        ('{{ template "a" }}', "there is no template 'a'"),
        ('{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}', "the template 'a' takes in itself"),
        ('{{ if true }}{{ "a" | writeToFile "/x" "" "" "0600" }}{{ end }}', "writeToFile in an if or a range"),
        ('{{ "a" | writeToFile (env "A") "" "" "0600" }}', "writeToFile with computed arguments"),
        ('{{ "a" | writeToFile "" "" "" "0600" }}', "writeToFile names no file"),
        ('{{ "a" | writeToFile "/x" }}', "writeToFile with computed arguments"),
        (NAMES % '{{ secret (printf "secret/data/b/%s" .) }}', "computed from the names in another folder"),
        (NAMES % '{{ secret (printf "secret/data/a/%s/x" .) }}', "the path of a secret is computed"),
    ],
)
def test_what_has_no_counterpart_is_told_and_marked(imported, template, told):
    found = imported("t.ctmpl", f"\nA{template}B")
    assert any(line.startswith("t.ctmpl:2: ") and told in line for line in found.lost), found.lost
    [text] = [text for name, text in found.files.items() if name.endswith(".j2")]
    assert "{# TODO lessee import: {{ " in text
    assert told in text
    assert text.startswith("\nA")
    assert text.endswith("B")


def test_an_if_without_a_condition_keeps_its_branches_for_the_reader(imported):
    found = imported("t.ctmpl", '{{ if key "a" }}A{{ else if true }}B{{ else }}C{{ end }}')
    text = found.files["t.j2"]
    assert text.startswith("{# TODO lessee import: ")
    assert text.endswith("#}{% if false %}A{% elif true %}B{% else %}C{% endif %}")


def test_a_thing_that_is_lost_twice_in_a_line_is_told_once(imported):
    assert len(imported("t.ctmpl", "{{ timestamp }}{{ timestamp }}").lost) == 1


def test_a_comment_cannot_be_left_by_what_stood_there(imported):
    found = imported("t.ctmpl", '{{ key "#} {{ 1 }}" }}')
    assert found.files["t.j2"].count("#}") == 1


def test_templates_that_multiply_end(imported):
    level = "".join(f'{{{{ define "{n}" }}}}' + f'{{{{ template "{n + 1}" }}}}' * 10 + "{{ end }}" for n in range(9))
    found = imported("t.ctmpl", level + '{{ define "9" }}x{{ end }}{{ template "0" }}')
    assert any("make it too long" in line for line in found.lost)


@pytest.mark.parametrize("value", ['"aa"', 'env "A"', 'print (env "A") "-"', 'env "A" | toUpper'])
def test_a_variable_that_is_made_of_itself_twice_doubles_nothing(imported, value):
    found = imported("t.ctmpl", "{{ $x := " + value + " }}" + "{{ $x := print $x $x }}" * 40 + "{{ $x }}")
    assert sum(map(len, found.files.values())) < 10_000
    assert not found.lost


def test_names_that_are_taken_over_and_over_are_told_apart(imported):
    found = imported("t.ctmpl", '{{ $x := env "A" | toUpper }}{{ $x }}' * 3)
    assert found.files["t.j2"].endswith('{% set x_3 = env("A", "") | upper %}{{ x_3 }}')
    other = imported("t.ctmpl", "".join(f'{{{{ ${name} := env "A" | toUpper }}}}' for name in ("x", "x_2", "x")))
    assert other.files["t.j2"].endswith('{% set x_3 = env("A", "") | upper %}')
    loops = imported("t.ctmpl", "{{ range $x := loop 1 }}{{ range $x := loop 1 }}{{ end }}{{ end }}" * 2)
    assert loops.files["t.j2"] == "{% for x in range(1) %}{% for x_2 in range(1) %}{% endfor %}{% endfor %}" * 2


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (WITH % "{{ if .Data.data.a }}b{{ end }}", "a number 0 in a secret is false"),
        (WITH % "{{ with .Data.data.a }}b{{ end }}", "a number 0 in a secret is false"),
        (WITH % '{{ or .Data.data.a "b" }}', "a number 0 in a secret is false"),
        (WITH % "{{ len .Data.data.a }}", "`| length` counts the characters"),
        (WITH % "{{ slice .Data.data.a 1 }}", "a slice of a text counts characters"),
        (WITH % "{{ print .Data.data.a .Data.data.b }}", "print puts a blank between two booleans of Vault"),
        (WITH % '{{ printf "%q" .Data.data.a }}', "control characters are quoted as in JSON"),
        (WITH % "{{ .Data.data.a | toUnescapedJSON }}", "U+2028 and U+2029 are written as they are"),
        (WITH % "{{ .Data.data.a | parseInt }}", "give 0 for what is no number"),
        ("{{ -7 | divide 2 }}", "round down, where divide and modulo round towards zero"),
        ('{{ if env "A" }}b{{ end }}{{ len (split "," "a,b") }}{{ or (env "A") "b" }}{{ print "a" (env "A") }}', ""),
    ],
)
def test_what_comes_out_otherwise_for_some_values_is_remarked(imported, template, told):
    found = imported("t.ctmpl", template)
    assert not found.lost
    # What is told of every template is told twice: where its file goes, and that lessee is strict.
    assert len(found.notes) == 2 + bool(told)
    assert any(told in note for note in found.notes)


def test_other_writing_is_remarked_once(imported):
    found = imported("t.ctmpl", '{{ "a b" | toTitle }}\n{{ "c" | toTitle }}{{ range secrets "kv/a" }}{{ end }}')
    assert [line for line in found.notes if "toTitle" in line] == [
        "t.ctmpl:1: note: `| title` writes the other letters of a word small, where toTitle leaves them"
    ]
    assert any(line.startswith("t.ctmpl:2: note: a loop over a KV folder") for line in found.notes)
    assert not found.lost


SNIPPETS = st.sampled_from(
    [
        '{{ with secret "secret/data/a" }}',
        '{{ range secrets "secret/metadata/b" }}',
        '{{ with secret (printf "secret/b/%s" .) }}',
        "{{ range $k, $v := .Data.data }}",
        "{{ if .Data.data.x }}",
        "{{ else }}",
        "{{ end }}",
        "{{- end -}}",
        "{{ .Data.data.x }}",
        "{{ . }}",
        "{{ .x }}",
        "{{ $v }}",
        "{{ $x := .y | toUpper }}",
        "{{ $x }}",
        '{{ $x = "1" }}',
        '{{ printf "%s-%5d" . 3 }}',
        '{{ template "t" . }}',
        '{{ define "t" }}',
        "{{ toJSON . }}",
        "{{ timestamp }}",
        '{{ env "A" }}',
        "{{ index . 1 }}",
        "\n  ",
        "{%",
        "{",
        '{{ with pkiCert "pki/issue/a" "common_name=a" }}',
        '{{ .Key | writeToFile "/run/web/key" "" "" "0600" }}',
        "{{ break }}",
        "{{ nil }}",
    ]
)


@given(st.lists(SNIPPETS, max_size=12).map("".join))
def test_any_template_is_refused_or_becomes_one_that_lessee_takes(text):
    report = Report()
    try:
        files = convert("t.ctmpl", text, lambda _: None, report)
    except TemplateError:
        files = {}
    if files:
        config = parse(files["lessee.yaml"], source="lessee.yaml", environ={})
        assert compile_recipes(config, Compiler(files.__getitem__, space_of(config)))
    assert report.lost == ("TODO" in "".join(files.values()))


def test_the_else_of_a_secret_is_left_out(imported):
    found = imported("t.ctmpl", WITH.replace("{{ end }}", "{{ else }}none{{ end }}") % "x")
    assert found.files["t.j2"] == "x"
    assert any("the else of a `with secret` is left out" in line for line in found.notes)


def test_all_templates_that_are_broken_are_told_at_once(imported):
    text = "".join(f'template {{\n contents = "{{{{ if }}}}"\n destination = "/run/a/{n}"\n}}\n' for n in "xy")
    with pytest.raises(TemplateError) as caught:
        imported("agent.hcl", text)
    assert str(caught.value).splitlines() == ["agent.hcl:2: a value is missing", "agent.hcl:6: a value is missing"]
