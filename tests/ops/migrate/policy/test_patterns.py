"""Regular expressions that are plain texts, and functions of lists: the results are those of OpenBao's agent 2.7.2."""

import pytest

from lessee.config.parsing import parse
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler

LISTS = (
    r'{{ $a := parseJSON "[\"a\",\"b\"]" }}{{ $b := split "," "a,b,c" }}'
    r'{{ $e := parseJSON "[]" }}{{ $c := parseJSON "[\"a\",\"z\"]" }}'
)
XY = '{{ define "x" }}<{{ . }}>{{ end }}{{ define "y" }}y{{ end }}'


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (LISTS + "{{ containsAll $a $b }}{{ containsAll $c $a }}{{ containsAll $e $a }}", "truefalsetrue"),
        (LISTS + "{{ containsAny $a $b }}{{ containsAny $e $b }}", "truefalse"),
        (LISTS + "{{ containsNone $a $b }}{{ containsNone $e $b }}", "falsetrue"),
        (LISTS + "{{ containsNotAll $c $a }}{{ containsNotAll $a $b }}{{ containsNotAll $e $b }}", "truefalsefalse"),
        (XY + '{{ executeTemplate "x" "a" }}{{ "b" | executeTemplate "x" }}{{ executeTemplate "y" }}', "<a><b>y"),
        ('{{ html "a<>&\\"\'" }}', "a&lt;&gt;&amp;&#34;&#39;"),
        ('{{ env "A" | regexMatch "^40" }}{{ env "A" | regexMatch "^0" }}', "truefalse"),
        ('{{ env "A" | regexMatch "40$" }}{{ env "A" | regexMatch "00$" }}', "falsetrue"),
        ('{{ env "A" | regexMatch "^40$" }}{{ env "A" | regexMatch "^400$" }}', "falsetrue"),
        ('{{ env "A" | regexMatch "1" }}{{ env "A" | regexMatch "0" }}', "falsetrue"),
        ('{{ "12 ab" | toTitle }}{{ "" | splitToMap "," "=" }}{{ "a=b" | splitToMap "," "" }}', "12 Abmap[]map[:a=b]"),
        ("{{ 1e21 }} {{ -2.5e-7 }} {{ 123456.5 }} {{ 1e6 }} {{ or 0.0 1e3 }}", "1e+21 -2.5e-07 123456.5 1e+06 1000"),
        ('{{ parseJSON "5" }}{{ parseJSON "1.5" }}{{ "" | parseYAML }}', "51.5map[]"),
        ('{{ "a: true\\nb: [1]" | parseYAML }}', "map[a:true b:[1]]"),
        ('{{ parseJSON "[null, true, {}, []]" }}', "[<nil> true map[] []]"),
        ('{{ (scratch.Key "a") }}{{ scratch.Set "a" "b" }}{{ (scratch.Key "a") }}', "falsetrue"),
        ('{{ "a.b axb" | regexReplaceAll "a\\\\.b" "c" }}', "c axb"),
    ],
)
def test_the_result_is_that_of_the_other_agent(template, expected):
    report = Report()
    files = convert("t.ctmpl", template, lambda _: None, report)
    assert not report.has_losses
    config = parse(files["lessee.yaml"], source="lessee.yaml", environ={"A": "400"})
    [app] = compile_apps(config, Compiler(files.__getitem__, path_scope_of(config))).values()
    assert render(app, Inputs({}, {}, {}, {"A": "400"})).generation.files[0].content.decode() == expected


@pytest.mark.parametrize(
    "call",
    [
        'regexMatch "a|b"', 'regexMatch "[a]"', 'regexMatch "a+"', r'regexMatch "\\d"', 'regexMatch "(?i)a"',
        'regexMatch ""', 'regexReplaceAll "^a" "b"', 'regexReplaceAll "a$" "b"', 'regexReplaceAll "a" "$0"',
        'regexReplaceAll "." "b"',
    ],
)  # fmt: skip
def test_a_pattern_with_a_choice_is_reported(imported, call):
    assert any(
        "lessee has no function regex" in line for line in imported("t.ctmpl", f'{{{{ env "A" | {call} }}}}').losses
    )
