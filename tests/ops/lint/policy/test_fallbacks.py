"""`lessee check` tells what no fallback could serve, before Vault is away."""

from pathlib import PurePosixPath

import pytest

from lessee.ops.lint.policy.findings import exit_code, in_order
from lessee.ops.lint.policy.project import check_project

APP = """environment: production
apps:
  web:
    directory: /run/secrets/web
    files: [{template: app.env.j2}, {template: app.json.j2}]
    fallback: FALLBACK
"""
ENV = 'A={{ secret("db").user }}\nB={% if true %}{{ secret("db").password }}{% endif %}\n'


def check(fallback, env=ENV, json="{}", **environ):
    templates = {"app.env.j2": env, "app.json.j2": json}
    text = APP.replace("FALLBACK", fallback)
    checked = check_project(PurePosixPath("etc/lessee.yaml"), text, environ, lambda _, name: templates[name])
    return in_order(checked.findings)


def told(*arguments, **environ):
    return [(one.rule, one.level, one.file, one.line, one.message) for one in check(*arguments, **environ)]


@pytest.mark.parametrize(
    "fallback",
    ["{env: [A, B]}", "{env: {db: {user: A, password: B, more: C}}}", "{last_known_good: /var/lib/lessee/web}"],
)
def test_of_what_can_serve_nothing_is_told(fallback):
    assert told(fallback, A="a", B="b", C="c") == []


def test_what_the_environment_here_has_not_is_a_warning():
    findings = check("{env: [A, B]}", A="a", B="")
    assert [(one.rule, one.level, one.line, one.message) for one in findings] == [
        ("fallback-unset", "warning", 6, "the environment here has no B")
    ]
    assert exit_code(findings) == 0


def test_a_template_that_it_cannot_serve_is_told_where_it_is():
    findings = check("{env: [A]}", A="a")
    assert [(one.rule, one.file, one.line, one.template, one.app) for one in findings] == [
        ("fallback-misfit", "etc/app.env.j2", 2, "app.env.j2", "web")
    ]
    assert exit_code(findings) == 65


def test_a_secret_a_key_and_a_name_are_told_in_the_configuration():
    place = ("etc/lessee.yaml", 6)
    assert told("{env: {other: {user: A}}}", A="a") == [
        ("fallback-misfit", "error", *place, "secret/production/db is not covered by `fallback`"),
    ]
    assert told("{env: {db: {user: A}, other: {x: A}}}", A="a") == [
        ("fallback-misfit", "error", *place, "a template reads password of db, and `fallback` does not name it"),
        ("fallback-unused", "error", *place, "no template of the app reads other"),
    ]
    assert told("{env: [A, B, C]}", A="a", B="b", C="c") == [
        ("fallback-unused", "error", *place, "no file of the app sets C"),
    ]


def test_keys_that_a_template_finds_by_looping_or_in_a_folder_are_not_asked_for():
    env = '{% for key, value in secret("db").items() %}{{ key }}={{ value }}\n{% endfor %}'
    loop = (
        '{% for name, one in secrets("keys/").items() %}{{ name }}: {{ one.key }}{{ "," if not loop.last }}{% endfor %}'
    )
    json = f"{{ {loop} }}"
    assert told("{env: {db: {user: A}, keys/x: {key: A}}}", env, json, A="a") == []
