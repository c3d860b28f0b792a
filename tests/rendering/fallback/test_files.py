"""Files from the environment: each format's own quoting, the author's text as it is, and nothing guessed."""

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.parsing import parse
from lessee.core.errors import FormatError, LesseeError, TemplateError
from lessee.rendering.app_templates import compile_recipes, space_of
from lessee.rendering.fallback.files import make, problems, unused
from lessee.rendering.templates import Compiler

BY_PATH = "`fallback: {env: {PATH: {KEY: VARIABLE}}}`"
DECIDES = (
    "a secret decides here what stands in the file, which no variable can make up for; "
    f"name its secrets: {BY_PATH}, or `last_good`"
)
NOT_NAMED = f"holds a secret, and `fallback` does not name it; name it too, or what its template reads: {BY_PATH}"
AT_1, AT_2 = f"t0.env.j2:1: {DECIDES}", f"t0.env.j2:2: {DECIDES}"
OUTSIDE = "a secret stands here outside of any variable that `fallback` names; name the variable, or write NAME={{ … }}"


def of(fallback, *templates, format="dotenv", environ=None, **taken_in):  # noqa: A002  # As users write it.
    """The recipe of an app with these templates."""
    names = {f"t{number}.env.j2": text for number, text in enumerate(templates)}
    files = ", ".join(f"{{template: {name}, format: {format}}}" for name in names)
    extra = ", environ: environ.j2" if environ is not None else ""
    text = f'secrets: {{prefix: "p/"}}\napps: {{web: {{directory: /r, files: [{files}], fallback: {fallback}{extra}}}}}'
    config = parse(text, source="lessee.yaml", environ={}, for_child=True)
    load = names | {"environ.j2": environ} | {name.replace("_", "."): text for name, text in taken_in.items()}
    return compile_recipes(config, Compiler(load.__getitem__, space_of(config)))["web"]


def wrong(recipe):
    return [str(problem) for problem in problems(recipe)]


def made(recipe, **environ):
    assert wrong(recipe) == []
    return make(recipe, recipe.app.fallback, environ)


def text_of(recipe, **environ):
    return made(recipe, **environ).files[0].content.decode()


TEMPLATE = """# the database
{% set db = secret("db") %}
export DB_PASSWORD={{ db.password }} # as it is
DB_URL="postgresql://{{ db.user | urlencode }}:{{ db.password | urlencode }}@{{ env("HOST", "db") }}/x"
HOST='{{ env("HOST", "db") }}'
PORT=5432
"""


def test_the_variables_that_are_named_get_the_environments_values_and_all_else_is_the_authors():
    recipe = of("{env: [DB_PASSWORD, DB_URL]}", TEMPLATE)
    assert text_of(recipe, DB_PASSWORD="it's $HOME", DB_URL="url", HOST="h") == (
        "# the database\n\nexport DB_PASSWORD='it\\'s $HOME' # as it is\nDB_URL='url'\nHOST='h'\nPORT=5432\n"
    )
    assert list(unused(recipe)) == []


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_whatever_a_value_is_it_is_one_value(value):
    from io import StringIO  # noqa: PLC0415  # Here alone.

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


def test_what_a_format_cannot_hold_is_refused_as_always():
    recipe = of("{env: [A]}", 'A={{ secret("a").b }}\n', format="dotenv-docker")
    with pytest.raises(FormatError, match="A holds a newline") as caught:
        made(recipe, A="canary\ncanary")
    assert "canary" not in str(caught.value)


def test_files_without_secrets_are_rendered_whatever_their_format_is():
    recipe = of("{env: [A]}", "static\n", format="text", environ='A={{ secret("a").b }}\nB="${A}!"\n')
    generation = made(recipe, A="x")
    assert generation.files[0].content == b"static\n"
    assert generation.environ == (("A", "x"), ("B", "x!"))
    assert list(unused(recipe)) == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('A={{ secret("a").b }}\nB={{ secret("a").c }}\n', f"t0.env.j2:2: B {NOT_NAMED}"),
        ('A=1\n{{ secret("a").n }}={{ secret("a").c }}\n', f"t0.env.j2:2: a variable {NOT_NAMED}"),
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
def test_what_no_variable_can_make_up_for_is_told_with_its_line(template, expected):
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
def test_where_the_author_alone_decides_all_ways_to_write_it_will_do(template):
    recipe = of("{env: [A]}", template, o_j2='{% set x = secret("a").b %}{% set z = 1 %}', i_j2='A={{ secret("a").b }}')
    assert "A='it'" in text_of(recipe, A="it")


def test_a_file_that_its_reader_would_not_read_is_told():
    recipe = of("{env: [A]}", 'A={{ secret("a").b }}\nB "\n', format="dotenv-compose")
    assert wrong(recipe) == ["t0.env.j2:2: Compose finds no name of a variable here"]


def test_a_name_alone_takes_its_value_from_elsewhere_and_is_set_by_nobody():
    recipe = of("{env: [A, B]}", 'B={{ secret("a").b }}\nA\n', format="dotenv-docker")
    assert [str(problem) for problem in unused(recipe)] == ["no file of the app sets A; mend its name, or leave it out"]


def test_another_format_is_told():
    assert wrong(of("{env: [A]}", '{"a": {{ secret("a").b }}}', format="json")) == [
        (
            "t0.env.j2: a file of format json holds secrets, and `fallback` names variables of env files; "
            f"name its secrets: {BY_PATH}, or `last_good`"
        )
    ]


def test_what_fails_for_another_reason_is_no_affair_of_the_fallback_and_is_told_when_it_is_wanted():
    recipe = of("{env: [A, B]}", 'A={{ secret("a").b }}{{ fail("no") }}\n')
    assert wrong(recipe) == []
    assert list(unused(recipe)) == []
    with pytest.raises(TemplateError, match="no"):
        make(recipe, recipe.app.fallback, {"A": "x", "B": "y"})


@pytest.mark.parametrize("environ", [{}, {"A": "", "C": ""}])
@pytest.mark.parametrize("fallback", ["{env: [A, B, C]}", "{env: {a: {b: A, c: B, d: C, e: A}}}"])
def test_what_is_not_set_or_empty_is_told_by_name(fallback, environ):
    recipe = of(fallback, 'A={{ secret("a").b }}\n')
    with pytest.raises(LesseeError) as caught:
        make(recipe, recipe.app.fallback, environ | {"B": "canary"})
    assert str(caught.value) == ("apps.web.fallback: the agent's environment has no A, C; set them, and not to nothing")


def test_secrets_made_of_variables_serve_any_format_folders_and_all_versions():
    template = (
        '{"a": {{ secret("db").password }}, "b": {{ secret("db", version=2).password }}, '
        '"c": { {% for name, one in secrets("keys/").items() %}{{ name }}: {{ one.key }}{% endfor %} }}'
    )
    recipe = of("{env: {db: {password: A}, keys/x: {key: B}}}", template, format="json")
    assert text_of(recipe, A='q"', B="k") == '{"a": "q\\"", "b": "q\\"", "c": { "x": "k" }}'
    assert list(unused(recipe)) == []


def test_what_is_not_covered_or_cannot_be_is_told_and_so_is_what_nothing_reads():
    template = 'A={{ secret("db").p }}\nB={{ secret("other").p }}\nC={{ dynamic("db/creds/x").y }}\n{{ secrets("f/") }}'
    recipe = of("{env: {db: {p: A}, typo/x: {p: B}}}", template)
    assert wrong(recipe) == [
        "db/creds/x is not covered by `fallback`; what Vault makes cannot be made of variables: leave it out of the app, or use `last_good`",  # noqa: E501
        "secret/p/f/ is not covered by `fallback`; add it: {PATH: {KEY: VARIABLE}}",
        "secret/p/other is not covered by `fallback`; add it: {PATH: {KEY: VARIABLE}}",
    ]
    assert [str(problem) for problem in unused(recipe)] == [
        "no template of the app reads typo/x; mend the path, or leave it out"
    ]
    with pytest.raises(LesseeError, match="does not cover db/creds/x, secret/p/f/, secret/p/other"):
        make(recipe, recipe.app.fallback, {"A": "a", "B": "b"})


def test_a_file_that_keeps_the_good_has_no_problem_with_any_template():
    recipe = of("{last_good: /var/lib/lessee/web}", '{{ dynamic("db/creds/x").y }}')
    assert (wrong(recipe), list(unused(recipe))) == ([], [])
    assert recipe.app.fallback.variables == ()


def test_a_path_that_no_template_can_name_is_told():
    recipe = of("{env: {p/db: {p: A}}}", 'A={{ secret("db").p }}\n')
    assert wrong(recipe) == ["'p/db' starts with the prefix 'p/', which lessee itself puts in front; leave it out"]
