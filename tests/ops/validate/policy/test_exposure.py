"""A public variable that takes a secret is found, by its template and by what is in it, and others are let alone."""

import pytest

from lessee.config.parsing import parse
from lessee.core.paths import Folder, Ref, Space
from lessee.core.secrets import Secret
from lessee.core.sensitive.names import Place
from lessee.core.sensitive.traces import Traces
from lessee.ops.validate.policy.exposure import Trial, listed
from lessee.rendering.app_templates import compile_recipes, space_of
from lessee.rendering.templates import Compiler

SPACE = Space("secret", "testing/")
PUBLIC = ("VITE_",)
VALUE = "not-a-real-value"
APP = Ref("secret", "testing/app")
PLACE = Place(str(APP), "api_key")


def trial(text, **environ):
    return Trial(Compiler({"x.j2": text}.__getitem__, SPACE).compile("x.j2"), "dotenv", SPACE, environ)


def found(text, secrets):
    values = [(Place(str(ref), key), value) for ref, one in secrets.items() for key, value in one.data.items()]
    return list(trial(text).holds(PUBLIC, secrets, Traces(values)))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ('VITE_A={{ secret("app").api_key }}\n', [("VITE_A", PLACE)]),
        ('VITE_A=x-{{ secret("app").api_key }}\n', [("VITE_A", PLACE)]),
        (
            '{% set app = secret("app") %}A={{ app.api_key }}\nVITE_B={{ app.url }}\n',
            [("VITE_B", Place(str(APP), "url"))],
        ),
        (
            'VITE_A={{ dynamic("database/creds/web").password }}\n',
            [("VITE_A", Place("database/creds/web", "password"))],
        ),
        (
            'VITE_A={% for name, one in secrets("keys/") | items %}{{ one.x }}{% endfor %}\n',
            [("VITE_A", Place("secret/testing/keys/*", "x"))],
        ),
        ('VITE_A={{ env("HOME", "none") }}\nA={{ secret("app").api_key }}\n', []),
        ('VITE_A={% for key in secret("app") %}{{ key }}{% endfor %}\n', []),
    ],
)
def test_what_a_public_variable_takes_is_told_by_its_template(text, taken):
    assert list(trial(text).takes(PUBLIC)) == taken


def test_a_template_that_made_up_values_do_not_fit_tells_nothing():
    assert list(trial('VITE_A={{ secret("app").n | int + fail("no") }}\n').takes(PUBLIC)) == []


def test_how_many_keys_a_secret_has_that_is_made_up_is_no_matter():
    assert list(trial('VITE_A={{ secret("app") | length }}\n').takes(PUBLIC)) == []


def test_what_is_in_a_public_variable_is_told_whatever_its_key_is_called():
    text = 'VITE_A={{ secret("app").api_key }}\nVITE_B=b\n'
    assert found(text, {APP: Secret({"api_key": VALUE})}) == [("VITE_A", PLACE)]
    text = 'VITE_A={% for name, one in secrets("") | items %}{{ one.api_key }}{% endfor %}\n'
    assert found(text, {APP: Secret({"api_key": VALUE})}) == [("VITE_A", PLACE)]


def test_where_a_secret_is_not_known_nothing_can_be_told():
    assert found('VITE_A={{ secret("app").api_key }}\n', {}) == []
    assert isinstance(APP.folder, Folder)


def test_of_what_is_listed_as_public_it_is_told_where_it_comes_from():
    text = '{% set app = secret("app") %}VITE_A={{ app.api_key }}\nVITE_AB={{ app.url }}\nB={{ app.b }}\n'
    files = "[{template: x.env.j2}, {template: x.xml.j2}, {template: env.js.j2}]"
    said = f"{{directory: /run/x, files: {files}, environ: y.env.j2"
    apps = f"apps:\n  web: {said}, public: [VITE_A, B]}}\n  other: {said.replace('/x', '/y')}}}\n"
    config = parse(f"environment: testing\n{apps}", source="lessee.yaml", environ={}, for_child=True)
    script = 'window.x = {"VITE_A": {{ secret("app").token | json }}, "VITE_B": "b", "C": "{{ secret("app").b }}"};\n'
    texts = {
        "x.env.j2": text,
        "x.xml.j2": "<a/>\n",
        "env.js.j2": script,
        "y.env.j2": 'VITE_A={{ secret("app").url }}\n',
    }
    recipes = compile_recipes(config, Compiler(texts.__getitem__, space_of(config)))
    assert list(listed(recipes["other"], {})) == []
    assert list(listed(recipes["web"], {})) == [
        ("x.env.j2", "VITE_A", PLACE),
        ("x.env.j2", "B", Place(str(APP), "b")),
        ("env.js.j2", "VITE_A", Place(str(APP), "token")),
        ("y.env.j2", "VITE_A", Place(str(APP), "url")),
    ]
    [without] = compile_recipes(
        parse(
            f"environment: testing\napps: {{web: {said.partition(', environ')[0]}, public: [B]}}}}",
            source="x",
            environ={},
        ),
        Compiler(texts.__getitem__, space_of(config)),
    ).values()
    assert list(listed(without, {})) == [("x.env.j2", "B", Place(str(APP), "b"))]
