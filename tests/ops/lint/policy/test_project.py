"""`lessee check` tells all that is wrong with a configuration and its templates at once, and nothing that is not."""

import re
from pathlib import Path, PurePosixPath

import pytest

from lessee.core.errors import TemplateError
from lessee.ops.lint.policy.findings import Finding, exit_code, in_order
from lessee.ops.lint.policy.project import check_project
from support.paths import ROOT

HEAD = "environment: production\nsecrets: {mount: kv}\napps:\n"


def app(name="web", files="{template: app.env.j2}", more=""):
    return f"  {name}:\n    directory: /run/secrets/{name}\n    files: [{files}]\n{more}"


def check(text, path="etc/lessee.yaml", **templates):
    def load(folder, name):
        if name not in templates:
            raise TemplateError("the template cannot be read", where=str(folder / name), rule="template-unreadable")
        return templates[name]

    return check_project(PurePosixPath(path), text, {}, load)


def found(text, **templates):
    return [(one.rule, one.file, one.line) for one in in_order(check(text, **templates).findings)]


WRONG = (
    ("{{ nope }}{{ nope() }}", ["unknown-name"]),
    ("{{ nope }}{{ 1 | nope }}{{ 1 is nope }}", ["unknown-filter", "unknown-test", "unknown-name"]),
    ('{{ secret("a" ~ "b").c }}{{ secrets(env("X")) }}', ["path-not-literal"] * 2),
    ('{{ secret("development/a").b }}{{ dynamic("kv/data/x").y }}', ["path-denied"] * 2),
    ('{{ secret(1) }}{{ secret("a", version=1, version=2) }}', ["wrong-arguments"] * 2),
    ("{{ secret }}", ["function-not-called"]),
    ("{% filter upper %}a{% endfilter %}", ["not-allowed"]),
    ('{% include "a" ~ "b" %}', ["path-not-literal"]),
)


def test_all_that_is_wrong_with_a_template_is_told_at_once():
    text = "\n".join(line for line, _ in WRONG)
    assert found(HEAD + app(), **{"app.env.j2": text}) == [
        (rule, "etc/app.env.j2", number) for number, (_, rules) in enumerate(WRONG, 1) for rule in rules
    ]


def test_what_is_wrong_with_what_templates_take_in_is_told_once_and_in_its_file():
    templates = {
        "app.env.j2": '{% include "in/common.j2" %}\n{{ one }}',
        "b.env.j2": '{% import "in/common.j2" as c %}\n{{ 1 | two }}',
        "in/common.j2": "\n{{ three }}",
    }
    files = "{template: app.env.j2}, {template: b.env.j2}"
    assert found(HEAD + app(files=files), **templates) == [
        ("unknown-name", "etc/app.env.j2", 2),
        ("unknown-filter", "etc/b.env.j2", 2),
        ("unknown-name", "etc/in/common.j2", 2),
    ]


def test_where_one_template_is_no_jinja_nothing_is_said_of_variables_that_it_may_set():
    templates = {"app.env.j2": '{% extends "base.j2" %}\n{{ x }}{{ 1 | nope }}', "base.j2": "{% set x = 1 %}\n{{ 1"}
    assert found(HEAD + app(), **templates) == [
        ("unknown-filter", "etc/app.env.j2", 2),
        ("template-syntax", "etc/base.j2", 2),
    ]


def test_a_template_that_cannot_be_read_is_told_of_by_its_own_path():
    assert found(HEAD + app() + "template_dir: t\n") == [("template-unreadable", "etc/t/app.env.j2", 0)]


def test_code_that_cannot_be_made_is_told_as_well():
    text = "{% block a %}{% endblock %}\n{% block a %}{% endblock %}"
    assert found(HEAD + app(), **{"app.env.j2": text}) == [("template-syntax", "etc/app.env.j2", 2)]


def test_the_templates_of_a_configuration_that_is_wrong_are_checked_too():
    text = "nope: 1\ntemplates: t\nsecrets: {prefix: '{environment}/'}\napps:\n" + app(
        files="{template: app.env.j2, nope: 1}, {template: b.j2, name: b.json}, {template: c/d.json.j2}",
        more="    env_template: e.j2\n    notify: {}\n",
    )
    templates = {"app.env.j2": "{{ x }}", "b.j2": "{", "c/d.json.j2": "[", "e.j2": "{{ secret(1) }}"}
    assert found(text, **templates) == [
        ("configuration", "etc/lessee.yaml", 1),
        ("configuration", "etc/lessee.yaml", 1),
        ("configuration", "etc/lessee.yaml", 7),
        ("configuration", "etc/lessee.yaml", 9),
        ("unknown-name", "etc/t/app.env.j2", 1),
        ("format-misfit", "etc/t/b.j2", 1),
        ("format-misfit", "etc/t/c/d.json.j2", 1),
        ("wrong-arguments", "etc/t/e.j2", 1),
    ]


def test_a_path_that_only_a_sound_configuration_could_judge_is_not_judged():
    assert found(
        "nope: 1\nenvironment: production\napps:\n" + app(), **{"app.env.j2": 'A={{ secret("production/a").b }}'}
    ) == [("configuration", "etc/lessee.yaml", 1)]


def test_what_a_build_would_give_to_every_visitor_is_told_unless_it_is_listed():
    text = 'A=1\n{% set s = secret("a") %}\nVITE_A={{ s.key }}\nVITE_B={{ s.b }}\nC={{ s.c }}\n'
    templates = {"app.env.j2": text, "e.j2": text}
    for more in ("", "    nope: 1\n"):  # Whether the configuration is right or not.
        files = app(more=f"    env_template: e.j2\n    public_variables: [VITE_B]\n{more}")
        told = [one for one in check(HEAD + files, **templates).findings if one.rule != "configuration"]
        assert [(one.rule, one.level, one.file, one.line) for one in told] == [
            ("public-variable", "error", "etc/app.env.j2", 3),
            ("public-variable", "error", "etc/e.j2", 3),
        ]
        assert all("VITE_A takes a: key" in one.message and "VITE_B" not in one.message for one in told)
    assert found(HEAD + app(more="    public_variables: [VITE_A, VITE_B]\n"), **templates) == []


def test_what_is_no_yaml_is_told_alone():
    assert found("apps: [\n") == [("configuration", "etc/lessee.yaml", 2)]


def test_the_exit_code_is_the_configurations_before_a_templates():
    wrong = {"app.env.j2": "{{ nope }}"}
    assert exit_code(check(HEAD + app(), **{"app.env.j2": "A=1"}).findings) == 0
    assert exit_code(check(HEAD + app(), **wrong).findings) == 65
    assert exit_code(check(HEAD + app() + "nope: 1\n", **wrong).findings) == 78
    java = app(more="    notify: {process: {name: java}}\n")
    node = app(more="    notify: {process: {name: node}}\n")
    in_dist = Finding("secret-in-dist", "error", "it holds a value", file="dist/a.js")
    assert exit_code([in_dist]) == 65
    assert exit_code([*check(HEAD + java, **wrong).findings, in_dist]) == 78
    assert exit_code(check(HEAD + java, **wrong).findings) == 78
    assert exit_code(check(HEAD + node, **{"app.env.j2": "A=1"}).findings) == 0


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        ("/run/secrets", "/run/secrets/web", "nested-directories"),
        ("/run/secrets/web/a", "/run/secrets/web", "nested-directories"),
        ("/run/secrets/web", "/var/run/secrets/web", "two-writers"),
        ("/var/run/secrets", "/run/secrets/web", "nested-directories"),
        ("/run/secrets/a", "/var/run/lessee", "two-writers"),
        ("/run/secrets/a", "/var/run/lessee/web", "nested-directories"),
        ("/run/secrets/we", "/run/secrets/web", None),
        ("/srv/run/web", "/run/web", None),
    ],
)
def test_directories_that_are_in_each_others_way_are_told(first, second, rule):
    text = HEAD + "".join(
        f"  {name}:\n    directory: {directory}\n    files: [{{template: app.env.j2}}]\n"
        for name, directory in (("a.b", first), ("c", second))
    )
    expected = [(rule, "etc/lessee.yaml", 8)] if rule else []
    assert found(text, **{"app.env.j2": "A=1"}) == expected


def test_a_line_is_that_of_the_key_though_it_comes_by_an_anchor():
    text = "x-a: &a\n  directory: /run/secrets\n  files: [{template: app.env.j2}]\nenvironment: p\napps:\n"
    text += "  a: {<<: *a}\n  b: {<<: *a, directory: /run/secrets/b}\n"
    assert found(text, **{"app.env.j2": "A=1"}) == [("nested-directories", "etc/lessee.yaml", 7)]


@pytest.mark.parametrize(
    ("notify", "level"),
    [
        ("{process: {name: celery}}", "error"),
        ("{process: {name: next-server}}", "error"),
        ("{process: {cmdline: 'python -m celery .*worker'}}", "error"),
        ("{process: {cmdline: 'node .*/server\\.js$'}}", "error"),
        ("{process: {cmdline: 'java .*app\\.jar'}, action: HUP}", "error"),
        ("{process: {cmdline: '^node '}}", "warning"),
        ("{process: {name: celery}, on_unhandled_signal: restart}", None),
        ("{process: {name: celery}, action: restart}", None),
        ("{process: {name: celery}, action: SIGUSR1}", None),
        ("{process: {name: uvicorn}}", None),
        ("{process: {cmdline: 'uvicorn app:app'}}", None),
        ("{process: {cmdline: 'gunicorn .*node'}}", None),
        ("{process: {cmdline: 'my-celery-like'}}", None),
        ("{pid_file: /run/celery}", None),
        ("{command: [celery]}", None),
        ("{http: 'http://celery'}", None),
    ],
)
def test_sighup_is_not_promised_to_who_is_known_to_be_deaf(notify, level):
    checked = check(HEAD + app(more=f"    notify:\n      {notify[1:-1].replace(', ', chr(10) + '      ')}\n"),
                    **{"app.env.j2": "A=1"})  # fmt: skip
    said = [(one.rule, one.level, one.line, one.app) for one in checked.findings]
    line = 9 if "HUP" in notify else 7
    assert said == ([("deaf-to-sighup", level, line, "web")] if level else [])


def test_what_is_right_can_be_looked_at_further():
    checked = check(HEAD + app(more="    env_template: e.j2\n"), **{"app.env.j2": 'A={{ secret("a").b }}', "e.j2": "B=1"})
    assert not checked.findings
    assert [str(need) for need in checked.compiled_apps["web"].references] == ["kv/production/a"]
    assert [(sheet.name, text.split("=")[0]) for sheet, text in checked.texts.items()] == [("app.env", "A"), ("", "B")]


@pytest.mark.parametrize("config", sorted(ROOT.glob("compose/*/lessee/lessee.yaml")), ids=lambda path: path.parts[-3])
def test_nothing_is_wrong_with_the_examples(config):
    checked = check_project(
        PurePosixPath(config), config.read_text(), {}, lambda folder, name: (Path(folder) / name).read_text()
    )
    assert not checked.findings


@pytest.mark.parametrize("template", sorted(ROOT.glob("templates/**/*.j2")), ids=lambda path: path.name)
def test_nothing_is_wrong_with_the_templates_that_come_with_lessee(template):
    name, text = str(template.relative_to(ROOT / "templates")), template.read_text()
    public = ", ".join(re.findall(r"(?m)^((?:VITE|NEXT_PUBLIC)_\w+)=", text))
    more = f"    public_variables: [{public}]\n"
    assert not check(HEAD + app(files=f"{{template: {name}}}", more=more), **{name: text}).findings
