"""Files that no secret can make valid are found without a secret, and no others."""

import base64
from pathlib import PurePosixPath

import pytest

from lessee.core.path_scope import PathScope
from lessee.ops.lint.policy.templates import TemplateOutput, Templates
from lessee.rendering.sample_secrets import KINDS, digits, is_sample, text

SPACE = PathScope("secret", "production/")
S = '{% set s = secret("a") %}'


def tried(template, name="app.env", form="dotenv", **more):
    files = {"app.j2": template} | {f"{word}.j2": text for word, text in more.items()}
    templates = Templates(PurePosixPath("t"), files.__getitem__, SPACE)
    templates.check([TemplateOutput("web", "app.j2", form, name)])
    return templates


def project_findings(template, form="dotenv", **more):
    return [(item.rule, item.file, item.line, item.template) for item in tried(template, form=form, **more).findings]


@pytest.mark.parametrize(
    ("form", "template", "line"),
    [
        ("json", '{"a": {{ secret("a").b }}\n]', 2),
        ("json", '{\n"a": x{{ secret("a").b }}}', 2),
        ("yaml", 'a: 1\nb: !{{ secret("a").b }} c', 2),
        ("yaml", "a: [\n", 2),
        ("dotenv", 'A=1\n\n{{ secret("a").b }}', 3),
        ("dotenv", 'A=1\nB-{{ secret("a").b }}=2\n', 2),
        ("nginx", 'server {\n  {{ secret("a").b }} on;\n}', 2),
        ("nginx", "server {\n  listen 80\n}", 3),
        ("pgpass", '# mine\ndb:5432:app:{{ secret("a").b }}', 2),
    ],
)
def test_a_file_that_no_value_makes_valid_is_reported_with_its_line(form, template, line):
    assert project_findings(template, form) == [("format-mismatch", "t/app.j2", line, "app.j2")]


@pytest.mark.parametrize(
    ("form", "template"),
    [
        ("dotenv", 'A={{ secret("a").b | b64decode }}\nB={{ secret("a").c | urlencode }}'),
        ("dotenv", '{% for k, v in secret("a").items() %}{{ k }}={{ v }}\n{% endfor %}'),
        ("dotenv", '{% for k, v in secret("a") | dictsort %}{{ k | upper }}={{ v }}\n{% endfor %}'),
        ("dotenv", '{% for k, v in secret("a") | dictsort %}{{ k }}={{ v.ca }}\n{% endfor %}'),
        ("dotenv", '{% for k, v in secret("a").tls.items() %}{{ k }}={{ v.ca }}\n{% endfor %}'),
        ("dotenv", '{% for v in secret("a").tls.values() %}A{{ loop.index }}={{ v.ca }}\n{% endfor %}'),
        ("dotenv", '{% for k in secret("a") %}{{ k }}={{ secret("a")[k] }}\n{% endfor %}'),
        ("dotenv", '{% for k in secret("a").keys() %}{{ k }}=1\n{% endfor %}'),
        ("dotenv", '{% for n, s in secrets("a/").items() %}{{ n }}_KEY={{ s.key }}\n{% endfor %}'),
        ("dotenv", 'A={{ secrets("a/")["open-router"].key }}\nB={{ secrets("a/").b.key }}'),
        ("dotenv", '{% for n in secrets("a/") %}{{ n }}={{ secrets("a/")[n].key }}\n{% endfor %}'),
        ("dotenv", '{% for s in secret("a").servers %}{{ s.name }}={{ s.tls.ca }}\n{% endfor %}'),
        ("dotenv", '{% for s in secret("a").servers | sort(attribute="port") %}{{ s.name }}=1\n{% endfor %}'),
        ("dotenv", '{% for n in secret("a").servers | map(attribute="dns.name") %}{{ n }}=1\n{% endfor %}'),
        ("dotenv", 'A={{ secret("a").hosts | join(",") }}\nB={{ secret("a").hosts[0] }}'),
        ("dotenv", 'A={{ secret("a").hosts[0].name }}\nB={{ secret("a").hosts[1].tls.ca }}'),
        ("dotenv", '{{ secret("a").first }}=1\n{{ secret("a").second }}=2'),
        ("dotenv", 'A={{ secret("a").port + 1 }}\nB={{ secret("a").on }}'),
        ("dotenv", 'A={{ secret("a").get("x") }}\nB={{ secret("a").get("y", "z").split(",") | first }}'),
        ("dotenv", '{% set hosts = secret("a").hosts | sort %}{% for h in hosts %}{{ h }}=1\n{% endfor %}'),
        ("dotenv", '{% set t = secret("a").get("tls") %}{% for k in t.keys() %}{{ k }}={{ t.ca }}{% endfor %}'),
        ("dotenv", 'A={{ env("X") }}\nB={{ env("PORT", "1") | int + 1 }}'),
        ("dotenv", "{% with t = secret('a').tls %}A={{ t.ca }}\nB={{ (t if true else t).key }}{% endwith %}"),
        ("dotenv", "{% set t = secret('a').tls %}{% set u, v = 1, 2 %}{% include 'in.j2' %}"),
        ("dotenv", "{% macro m(x) %}A={{ x.key }}{% endmacro %}{{ m(secret('a')) }}"),
        ("dotenv", 'A={{ secret("a").x if secret("a").x is defined }}\nB={{ secret("a").y | default("d") }}'),
        ("dotenv", 'A={% for c in secret("a").pin %}{{ c }}{% endfor %}\nB={{ secret("a").pin }}'),
        ("dotenv", 'A={{ dynamic("database/creds/web").username }}'),
        ("text", '{% for one in certificate("pki/issue/w", common_name="w").ca_chain %}{{ one }}\n{% endfor %}'),
        ("json", '{{ secret("a") }}'),
        ("json", '{"a": {{ secret("a").b | json }}, "c": {{ secret("a").c }}, {{ secret("a").d }}: 1}'),
        ("json", '[{% for h in secret("a").hosts %}{{ h.name }}{{ "," if not loop.last }}{% endfor %}]'),
        ("yaml", '{{ secret("a").name }}: {{ secret("a").port }}\n{{ secret("b").name }}: {{ secret("b").tls }}\n'),
        ("yaml", '{% for k, v in secret("a").labels.items() | list %}\n{{ k }}: {{ v }}\n{% endfor %}'),
    ],
)
def test_a_file_that_some_value_makes_valid_has_no_findings(form, template):
    made = tried(template, form=form, **{"in": "A={{ t.ca }}"})
    assert not made.findings
    [text] = made.texts.values()
    assert "{{" not in text


@pytest.mark.parametrize(
    "template",
    [
        'A={{ secret("a").url.split("://")[1] }}\nno name',
        '{% set host, port = secret("a").address.split(":") %}\n{{ host }}',
        '{{ secret("a").b + 1 }}\n{{ secret("a").c }}',
        '{% set x = "name" %}{% for h in secret("a").hosts | sort(attribute=x) %}{{ h }}{% endfor %}',
    ],
)
def test_an_expression_that_fails_on_sample_values_is_no_finding(template):
    made = tried(template)
    assert not made.findings
    assert list(made.texts.values()) == [template]


def test_the_line_is_that_of_the_template_in_loops_and_macros():
    loop = '{# two\nlines #}{% for h in secret("a").hosts -%}\n\nA={{ h }}\n{% endfor %}\n\n{{ secret("a").b }}\n'
    assert project_findings(loop) == [("format-mismatch", "t/app.j2", 7, "app.j2")]
    inside = '{% for h in secret("a").hosts %}\n{{ h }}\n{% endfor %}\n'
    assert project_findings(inside) == [("format-mismatch", "t/app.j2", 2, "app.j2")]
    macro = '{% macro m() %}\n\n{{ secret("a").b }} is no line\n{% endmacro %}\n\n\nA=1\n{{ m() }}\n'
    assert project_findings(macro) == [("format-mismatch", "t/app.j2", 3, "app.j2")]
    assert project_findings('{{ secret("a").b }}') == [("format-mismatch", "t/app.j2", 1, "app.j2")]


def test_the_line_is_that_of_the_included_file():
    found = project_findings('A=1\n{% include "in.j2" %}\n', **{"in": '\n\nB=1\n{{ secret("a").b }}'})
    assert found == [("format-mismatch", "t/in.j2", 4, "in.j2")]


def test_without_a_line_the_finding_is_for_the_file():
    assert project_findings('{"a": NaN, "b": {{ secret("a").b }}}', "json") == [
        ("format-mismatch", "t/app.j2", 0, "app.j2")
    ]


def test_where_line_marks_change_the_result_the_line_is_that_of_the_rendered_file():
    text = '{% set x %}on{% endset %}\n{% if x == "on" %}{% set y = 1 %}{% else %}{{ x.nope.nope }}{% endif %}\n'
    text += '{{ secret("a").b }}\n'
    assert project_findings(text) == [("format-mismatch", "t/app.j2", 3, "app.j2")]


def test_a_lone_surrogate_is_reported():
    assert project_findings("A=\ud800\n") == [("format-mismatch", "t/app.j2", 0, "app.j2")]


def test_sample_values_are_distinct_and_decodable():
    for kind in KINDS[:3]:
        assert len({kind(number) for number in range(700)}) == 700
    for made in (text, digits):
        for number in range(1000):
            assert made(number).isalnum()
            base64.b64decode(made(number), validate=True).decode()
    assert all(digits(number).isdigit() and digits(number)[0] != "0" for number in range(700))


def test_a_name_made_of_a_sample_is_recognized():
    assert is_sample("sample042")
    assert is_sample(f"APP_{text(42)}_KEY")
    assert not is_sample("SAMPLE_RATE")


def test_what_is_optional_must_be_dispensable():
    needed = 'A=1\n{% set s = secret("a", optional=true) %}B={{ s.b }}\n'
    assert project_findings(needed) == [("optional-needed", "t/app.j2", 2, "app.j2")]
    (finding,) = tried(needed).findings
    assert (
        finding.message == "it cannot be rendered without what is optional: a has no such key: 'b'; its keys are: none"
    )
    assert project_findings('{{ secret("a", optional=true) | json }}x', "json") == [
        ("format-mismatch", "t/app.j2", 1, "app.j2")
    ]


@pytest.mark.parametrize(
    "template",
    [
        'A={{ secret("a", optional=true).b | default("none") }}\n',
        '{% set s = secret("a", optional=true) %}{% if s %}B={{ s.b }}\n{% endif %}',
        '{% for n, s in secrets("a/", optional=true).items() %}{{ n }}={{ s.b }}\n{% endfor %}',
        '{% set d = dynamic("database/creds/x", optional=true) %}{% if d %}B={{ d.password }}{% endif %}\n',
        # Another call needs it.
        'A={{ secret("a", optional=true).b }}\nB={{ secret("a").b }}\n',
    ],
)
def test_an_optional_secret_that_the_template_can_do_without_is_no_finding(template):
    assert project_findings(template) == []
