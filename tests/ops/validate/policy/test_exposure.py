"""Public variables with secrets are found by their templates and by their values, and no others."""

import pytest

from lessee.config.parsing import parse
from lessee.core.path_scope import PathScope
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret
from lessee.core.sensitive.leaks import LeakDetector
from lessee.core.sensitive.names import SecretField
from lessee.ops.validate.policy.exposure import TemplateProbe, public_fields
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

SCOPE = PathScope("secret", "testing/")
PUBLIC = ("VITE_",)
VALUE = "not-a-real-value"
APP = Ref("secret", "testing/app")
FIELD = SecretField(str(APP), "api_key")


def probe(text, **environ):
    return TemplateProbe(Compiler({"x.j2": text}.__getitem__, SCOPE).compile("x.j2"), "dotenv", SCOPE, environ)


def leaked(text, secrets):
    values = [
        (SecretField(str(ref), key), value) for ref, secret in secrets.items() for key, value in secret.data.items()
    ]
    return list(probe(text).leaked_fields(PUBLIC, secrets, LeakDetector(values)))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('VITE_A={{ secret("app").api_key }}\n', [("VITE_A", FIELD)]),
        ('VITE_A=x-{{ secret("app").api_key }}\n', [("VITE_A", FIELD)]),
        (
            '{% set app = secret("app") %}A={{ app.api_key }}\nVITE_B={{ app.url }}\n',
            [("VITE_B", SecretField(str(APP), "url"))],
        ),
        (
            'VITE_A={{ dynamic("database/creds/web").password }}\n',
            [("VITE_A", SecretField("database/creds/web", "password"))],
        ),
        (
            'VITE_A={% for name, one in secrets("keys/") | items %}{{ one.x }}{% endfor %}\n',
            [("VITE_A", SecretField("secret/testing/keys/*", "x"))],
        ),
        ('VITE_A={{ env("HOME", "none") }}\nA={{ secret("app").api_key }}\n', []),
        ('VITE_A={% for key in secret("app") %}{{ key }}{% endfor %}\n', []),
    ],
)
def test_a_template_s_references_in_public_variables_are_found(text, fields):
    assert list(probe(text).referenced_fields(PUBLIC)) == fields


def test_a_template_has_public_variables_or_not():
    assert probe("VITE_A=a\n").has_variables(PUBLIC)
    assert not probe("A=a\n").has_variables(PUBLIC)
    assert not probe('VITE_A={{ secret("app").n | int + fail("no") }}\n').has_variables(PUBLIC)


def test_a_secret_of_a_folder_is_found_by_its_name_in_the_folder():
    secrets = {
        Ref("secret", "testing/keys/a"): Secret({"x": VALUE}),
        Ref("secret", "testing/other"): Secret({"x": "no"}),
    }
    field = SecretField("secret/testing/keys/a", "x")
    assert leaked('VITE_A={{ secrets("keys/").a.x }}\n', secrets) == [("VITE_A", field)]


def test_a_template_that_fails_with_sample_values_has_no_references():
    assert list(probe('VITE_A={{ secret("app").n | int + fail("no") }}\n').referenced_fields(PUBLIC)) == []


def test_the_number_of_keys_of_a_sample_secret_does_not_matter():
    assert list(probe('VITE_A={{ secret("app") | length }}\n').referenced_fields(PUBLIC)) == []


def test_values_in_public_variables_are_found_whatever_their_keys():
    text = 'VITE_A={{ secret("app").api_key }}\nVITE_B=b\n'
    assert leaked(text, {APP: Secret({"api_key": VALUE})}) == [("VITE_A", FIELD)]
    text = 'VITE_A={% for name, one in secrets("") | items %}{{ one.api_key }}{% endfor %}\n'
    assert leaked(text, {APP: Secret({"api_key": VALUE})}) == [("VITE_A", FIELD)]


def test_a_missing_secret_leaves_no_values_to_find():
    assert leaked('VITE_A={{ secret("app").api_key }}\n', {}) == []
    assert isinstance(APP.folder, Folder)


def test_the_fields_of_public_variables_are_listed():
    text = '{% set app = secret("app") %}VITE_A={{ app.api_key }}\nVITE_AB={{ app.url }}\nB={{ app.b }}\n'
    files = "[{template: x.env.j2}, {template: x.xml.j2}, {template: env.js.j2}]"
    app = f"{{directory: /run/x, files: {files}, env_template: y.env.j2"
    apps = f"apps:\n  web: {app}, public_variables: [VITE_A, B]}}\n  other: {app.replace('/x', '/y')}}}\n"
    config = parse(f"environment: testing\n{apps}", source="lessee.yaml", environ={}, for_child=True)
    script = 'window.x = {"VITE_A": {{ secret("app").token | json }}, "VITE_B": "b", "C": "{{ secret("app").b }}"};\n'
    texts = {
        "x.env.j2": text,
        "x.xml.j2": "<a/>\n",
        "env.js.j2": script,
        "y.env.j2": 'VITE_A={{ secret("app").url }}\n',
    }
    compiled_apps = compile_apps(config, Compiler(texts.__getitem__, path_scope_of(config)))
    assert list(public_fields(compiled_apps["other"], {})) == []
    assert list(public_fields(compiled_apps["web"], {})) == [
        ("x.env.j2", "VITE_A", FIELD),
        ("x.env.j2", "B", SecretField(str(APP), "b")),
        ("env.js.j2", "VITE_A", SecretField(str(APP), "token")),
        ("y.env.j2", "VITE_A", SecretField(str(APP), "url")),
    ]
    [without] = compile_apps(
        parse(
            f"environment: testing\napps: {{web: {app.partition(', env_template')[0]}, public_variables: [B]}}}}",
            source="x",
            environ={},
        ),
        Compiler(texts.__getitem__, path_scope_of(config)),
    ).values()
    assert list(public_fields(without, {})) == [("x.env.j2", "B", SecretField(str(APP), "b"))]
