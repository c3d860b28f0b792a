"""Fallback files from the environment: with the format's quoting and the author's text unchanged."""

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.parsing import parse
from lessee.core.errors import FormatError, LesseeError, TemplateError
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.fallback.files import build, problems, unused
from lessee.rendering.templates import Compiler

NO_NAME = "`fallback` does not name"
BY_PATH = "`fallback: {env: {PATH: {KEY: VARIABLE}}}`"
DECIDES = (
    "a secret decides here what the file contains, which no variable can replace; "
    f"name the secrets with {BY_PATH}, or use `last_known_good`"
)
NOT_NAMED = f", which contains a secret; name it too, or the secrets with {BY_PATH}"
AT_1, AT_2 = f"t0.env.j2:1: {DECIDES}", f"t0.env.j2:2: {DECIDES}"
OUTSIDE = "a secret is here outside of the variables that `fallback` names; name the variable, or write NAME={{ … }}"


def of(fallback, *templates, format="dotenv", environ=None, **included):  # noqa: A002  # The configuration's word.
    """The compiled app with these templates."""
    names = {f"t{number}.env.j2": text for number, text in enumerate(templates)}
    files = ", ".join(f"{{template: {name}, format: {format}}}" for name in names)
    extra = ", env_template: environ.j2" if environ is not None else ""
    app = f"{{directory: /r, files: [{files}], fallback: {fallback}{extra}}}"
    text = f'secrets: {{prefix: "p/"}}\nidentities: {{b: {{namespace: b}}}}\napps: {{web: {app}}}'
    config = parse(text, source="lessee.yaml", environ={}, for_child=True)
    load = names | {"environ.j2": environ} | {name.replace("_", "."): text for name, text in included.items()}
    return compile_apps(config, Compiler(load.__getitem__, path_scope_of(config)))["web"]


def wrong(compiled_app):
    return [str(problem) for problem in problems(compiled_app)]


def generate(compiled_app, **environ):
    assert wrong(compiled_app) == []
    return build(compiled_app, compiled_app.app.fallback, environ)


def text_of(compiled_app, **environ):
    return generate(compiled_app, **environ).files[0].content.decode()


TEMPLATE = """# the database
{% set db = secret("db") %}
export DB_PASSWORD={{ db.password }} # as it is
DB_URL="postgresql://{{ db.user | urlencode }}:{{ db.password | urlencode }}@{{ env("HOST", "db") }}/x"
HOST='{{ env("HOST", "db") }}'
PORT=5432
"""


def test_named_variables_get_the_environments_values_and_the_rest_is_the_authors_text():
    compiled_app = of("{env: [DB_PASSWORD, DB_URL]}", TEMPLATE)
    assert text_of(compiled_app, DB_PASSWORD="it's $HOME", DB_URL="url", HOST="h") == (
        "# the database\n\nexport DB_PASSWORD='it\\'s $HOME' # as it is\nDB_URL='url'\nHOST='h'\nPORT=5432\n"
    )
    assert list(unused(compiled_app)) == []


@pytest.mark.long
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_value_is_one_value(value):
    from io import StringIO  # noqa: PLC0415  # Only used here.

    text = text_of(of("{env: [A]}", 'A={{ secret("a").b }}\nB=1\n'), A=value)
    assert dotenv_values(stream=StringIO(text, newline="")) == {"A": value, "B": "1"}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("dotenv-node", 'A="it\'s $x"\nB=1\n'),
        ("dotenv-vite", 'A="it\'s \\$x"\nB=1\n'),
        ("dotenv-compose", "A='it\\'s $x'\nB=1\n"),
        ("dotenv-docker", "A=it's $x\nB=1\n"),
    ],
)
def test_each_format_quotes_in_its_own_way(form, expected):
    assert text_of(of("{env: [A]}", 'A={{ secret("a").b }}\nB=1\n', format=form), A="it's $x") == expected


def test_a_value_that_the_format_cannot_represent_is_rejected():
    compiled_app = of("{env: [A]}", 'A={{ secret("a").b }}\n', format="dotenv-docker")
    with pytest.raises(FormatError, match="A contains a newline") as caught:
        generate(compiled_app, A="canary\ncanary")
    assert "canary" not in str(caught.value)


def test_files_without_secrets_are_rendered_whatever_their_format_is():
    compiled_app = of("{env: [A]}", "static\n", format="text", environ='A={{ secret("a").b }}\nB="${A}!"\n')
    generation = generate(compiled_app, A="x")
    assert generation.files[0].content == b"static\n"
    assert generation.environ == (("A", "x"), ("B", "x!"))
    assert list(unused(compiled_app)) == []


def test_an_environment_may_refer_to_variables_of_the_agent_s():
    compiled_app = of("{env: [A]}", "static\n", environ='A={{ secret("a").b }}\nB="${HOST}:1"\n')
    assert generate(compiled_app, A="x", HOST="h").environ == (("A", "x"), ("B", "h:1"))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('A={{ secret("a").b }}\nB={{ secret("a").c }}\n', f"t0.env.j2:2: {NO_NAME} B{NOT_NAMED}"),
        ('A=1\n{{ secret("a").n }}={{ secret("a").c }}\n', f"t0.env.j2:2: {NO_NAME} a variable{NOT_NAMED}"),
        ('A=1\n# {{ secret("a").b }}\n', f"t0.env.j2:2: {OUTSIDE}"),
        ('{{ secret("a").b }}\nA=1\n', f"t0.env.j2:1: {OUTSIDE}"),
        ('\n{% if secret("a").b %}A=1\n{% endif %}', AT_2),
        ('A=1\n{% if false %}{% elif dynamic("db/creds/x").y == "z" %}A=1\n{% endif %}', AT_2),
        ('{% for k in secrets("a/") %}{{ k }}=1\n{% endfor %}A=1', AT_1),
        ('{% for k in [1] if secret("a").b %}A={{ k }}\n{% endfor %}', AT_1),
        ('{% set x = secret("a").b %}{% if x %}A=1\n{% endif %}', AT_1),
        ('{% set x %}{{ secret("a").b }}{% endset %}{% if x %}A=1\n{% endif %}', AT_1),
        ('{% with x = secret("a").b, y = 1 %}{% if x %}A=1\n{% endif %}{% endwith %}', AT_1),
        ('{% set n = namespace(x=1) %}{% set n.x = secret("a").b %}{% if n.x %}A=1\n{% endif %}', AT_1),
        ('{% macro m(v) %}{% if v %}A=1\n{% endif %}{% endmacro %}{{ m(secret("a").b) }}', AT_1),
        ('{% macro m() %}{% if varargs %}A=1\n{% endif %}{% endmacro %}{{ m(secret("a").b) }}', AT_1),
        ('{% from "o.j2" import x as y %}{% if y %}A=1\n{% endif %}', AT_1),
        ('{% import "o.j2" as o %}{% if o.x %}A=1\n{% endif %}', AT_1),
    ],
)  # fmt: skip
def test_a_secret_that_decides_the_content_is_reported_with_its_line(template, expected):
    assert wrong(of("{env: [A]}", template, o_j2='{% set x = secret("a").b %}{% set z = 1 %}')) == [expected]


@pytest.mark.parametrize(
    "template",
    [
        'A={{ secret("a").b if secret("a").c else "d" }}\n',
        'A={{ secret("a").b or secret("a").c }}\n',
        'A={{ secret("a")[env("K", "k")] | b64decode }}\n',
        '{% macro m(v) %}A={{ v }}\n{% endmacro %}{{ m(secret("a").b) }}',
        '{% macro m(v) %}A={{ caller(v) }}\n{% endmacro %}{% call(v) m(secret("a").b) %}{{ v }}{% endcall %}',
        '{% set n = namespace(x=1) %}{% set n.x = secret("a").b %}A={{ n.x }}\n',
        '{% from "o.j2" import z, x %}{% if z %}A={{ x }}\n{% endif %}',
        '{% include "i.j2" %}',
        '{% if env("X", "1") == "1" %}A={{ secret("a").b }}\n{% endif %}',
        '{% for k in ["b"] %}A={{ secret("a")[k] }}\n{% endfor %}',
    ],
)
def test_a_template_works_if_no_secret_decides_its_content(template):
    compiled_app = of(
        "{env: [A]}", template, o_j2='{% set x = secret("a").b %}{% set z = 1 %}', i_j2='A={{ secret("a").b }}'
    )
    assert "A='it'" in text_of(compiled_app, A="it")


def test_a_file_that_its_parser_would_reject_is_reported():
    compiled_app = of("{env: [A]}", 'A={{ secret("a").b }}\nB "\n', format="dotenv-compose")
    assert wrong(compiled_app) == ["t0.env.j2:2: Compose expects the name of a variable here"]


def test_a_bare_name_takes_its_value_from_elsewhere_and_counts_as_unset():
    compiled_app = of("{env: [A, B]}", 'B={{ secret("a").b }}\nA\n', format="dotenv-docker")
    assert [str(problem) for problem in unused(compiled_app)] == [
        "no file of the app sets A; correct its name, or remove it"
    ]


def test_another_format_with_secrets_is_reported():
    assert wrong(of("{env: [A]}", '{"a": {{ secret("a").b }}}', format="json")) == [
        (
            "t0.env.j2: `fallback` names variables of env files, but this file has the format json and contains "
            f"secrets; name the secrets with {BY_PATH}, or use `last_known_good`"
        )
    ]


def test_another_error_of_a_template_is_only_reported_when_it_is_rendered():
    compiled_app = of("{env: [A, B]}", 'A={{ secret("a").b }}{{ fail("no") }}\n')
    assert wrong(compiled_app) == []
    assert list(unused(compiled_app)) == []
    with pytest.raises(TemplateError, match="no"):
        build(compiled_app, compiled_app.app.fallback, {"A": "x", "B": "y"})


@pytest.mark.parametrize("environ", [{}, {"A": "", "C": ""}])
@pytest.mark.parametrize("fallback", ["{env: [A, B, C]}", "{env: {a: {b: A, c: B, d: C, e: A}}}"])
def test_unset_and_empty_variables_are_reported_by_name(fallback, environ):
    compiled_app = of(fallback, 'A={{ secret("a").b }}\n')
    with pytest.raises(LesseeError) as caught:
        build(compiled_app, compiled_app.app.fallback, environ | {"B": "canary"})
    assert str(caught.value) == ("apps.web.fallback: the agent's environment has no A, C; set them to non-empty values")


def test_secrets_made_of_variables_serve_any_format_folders_and_all_versions():
    template = (
        '{"a": {{ secret("db").password }}, "b": {{ secret("db", version=2).password }}, '
        '"c": { {% for name, one in secrets("keys/").items() %}{{ name }}: {{ one.key }}{% endfor %} }}'
    )
    compiled_app = of("{env: {db: {password: A}, keys/x: {key: B}}}", template, format="json")
    assert text_of(compiled_app, A='q"', B="k") == '{"a": "q\\"", "b": "q\\"", "c": { "x": "k" }}'
    assert list(unused(compiled_app)) == []


def test_uncovered_references_and_unused_paths_are_reported():
    template = 'A={{ secret("db").p }}\nB={{ secret("other").p }}\nC={{ dynamic("db/creds/x").y }}\n{{ secrets("f/") }}'
    compiled_app = of("{env: {db: {p: A}, typo/x: {p: B}}}", template)
    assert wrong(compiled_app) == [
        "db/creds/x is not covered by `fallback`; variables cannot replace dynamic secrets: remove it from the app, or use `last_known_good`",  # noqa: E501
        "secret/p/f/ is not covered by `fallback`; add it: {PATH: {KEY: VARIABLE}}",
        "secret/p/other is not covered by `fallback`; add it: {PATH: {KEY: VARIABLE}}",
    ]
    assert [str(problem) for problem in unused(compiled_app)] == [
        "no template of the app reads typo/x; correct the path, or remove it"
    ]
    with pytest.raises(LesseeError, match="does not cover db/creds/x, secret/p/f/, secret/p/other"):
        build(compiled_app, compiled_app.app.fallback, {"A": "a", "B": "b"})


def test_a_last_known_good_fallback_has_no_problem_with_any_template():
    compiled_app = of("{last_known_good: /var/lib/lessee/web}", '{{ dynamic("db/creds/x").y }}')
    assert (wrong(compiled_app), list(unused(compiled_app))) == ([], [])
    assert compiled_app.app.fallback.variables == ()


def test_a_path_that_no_template_can_use_is_reported():
    compiled_app = of("{env: {p/db: {p: A}}}", 'A={{ secret("db").p }}\n')
    assert wrong(compiled_app) == ["'p/db' starts with the prefix 'p/', which lessee adds itself; leave it out"]


def test_what_another_identity_reads_is_not_covered_and_what_is_optional_need_not_be():
    by_path = "{env: {db: {password: DB_PASSWORD}}}"
    todo = "variables cannot replace what another identity reads: use `last_known_good`"
    assert wrong(of(by_path, 'A={{ secret("db").password }}\nB={{ secret("db", identity="b").password }}\n')) == [
        f"b:secret/p/db is not covered by `fallback`; {todo}"
    ]
    text = 'A={{ secret("db").password }}\n{% if secret("x", identity="b", optional=true) %}B=1\n{% endif %}'
    assert text_of(of(by_path, text), DB_PASSWORD="a") == "A='a'\n"
