"""`lessee check` finds fallbacks that cannot serve their app, before Vault is unavailable."""

from pathlib import PurePosixPath

import pytest

from lessee.ops.lint.policy.findings import exit_code, sorted_findings
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
    return sorted_findings(checked.findings)


def seen(*arguments, **environ):
    return [(item.rule, item.level, item.file, item.line, item.message) for item in check(*arguments, **environ)]


@pytest.mark.parametrize(
    "fallback",
    ["{env: [A, B]}", "{env: {db: {user: A, password: B, more: C}}}", "{last_known_good: /var/lib/lessee/web}"],
)
def test_a_fallback_that_can_serve_has_no_findings(fallback):
    assert seen(fallback, A="a", B="b", C="c") == []


def test_a_variable_that_is_not_set_here_is_a_warning():
    findings = check("{env: [A, B]}", A="a", B="")
    assert [(item.rule, item.level, item.line, item.message) for item in findings] == [
        ("fallback-unset", "warning", 6, "not set in this environment: B")
    ]
    assert [(item.help, item.app) for item in findings] == [("set them for the agent", "web")]
    assert exit_code(findings) == 0


def test_a_template_that_the_fallback_cannot_serve_is_reported_with_its_line():
    findings = check("{env: [A]}", A="a")
    assert [(item.rule, item.file, item.line, item.template, item.app) for item in findings] == [
        ("fallback-mismatch", "etc/app.env.j2", 2, "app.env.j2", "web")
    ]
    assert exit_code(findings) == 65


def test_missing_secrets_keys_and_unused_names_are_reported_in_the_configuration():
    place = ("etc/lessee.yaml", 6)
    assert seen("{env: {other: {user: A}}}", A="a") == [
        ("fallback-mismatch", "error", *place, "secret/production/db is not covered by `fallback`"),
    ]
    assert seen("{env: {db: {user: A}, other: {x: A}}}", A="a") == [
        ("fallback-mismatch", "error", *place, "a template reads password of db, but `fallback` does not have it"),
        ("fallback-unused", "error", *place, "no template of the app reads other"),
    ]
    assert seen("{env: [A, B, C]}", A="a", B="b", C="c") == [
        ("fallback-unused", "error", *place, "no file of the app sets C"),
    ]


def test_keys_found_in_loops_or_folders_are_not_required():
    env = '{% for key, value in secret("db").items() %}{{ key }}={{ value }}\n{% endfor %}'
    loop = (
        '{% for name, one in secrets("keys/").items() %}{{ name }}: {{ one.key }}{{ "," if not loop.last }}{% endfor %}'
    )
    json = f"{{ {loop} }}"
    assert seen("{env: {db: {user: A}, keys/x: {key: A}}}", env, json, A="a") == []
