"""`lessee check` reports all problems of a configuration and its templates, without false alarms."""

import re
from pathlib import Path, PurePosixPath

import pytest

from lessee.core.errors import TemplateError
from lessee.ops.lint.policy.findings import Finding, exit_code, sorted_findings
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
    return [(item.rule, item.file, item.line) for item in sorted_findings(check(text, **templates).findings)]


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


def test_all_problems_of_a_template_are_reported_together():
    text = "\n".join(line for line, _ in WRONG)
    assert found(HEAD + app(), **{"app.env.j2": text}) == [
        (rule, "etc/app.env.j2", number) for number, (_, rules) in enumerate(WRONG, 1) for rule in rules
    ]


def test_what_an_import_left_unfinished_is_an_error():
    long = "the files of /run/web have 2 commands, and a change of any file runs all of them; " * 3
    text = (
        HEAD
        + "  # TODO lessee import: one\n  #   and more\n  # other\n"
        + app()
        + f"    # TODO lessee import: {long}\n"
    )
    template = 'A={{ env("X", "") }}\nB={{ fail("TODO lessee import: {{ key }}: y") }}\n'
    findings = sorted_findings(check(text, **{"app.env.j2": template}).findings)
    assert [(item.rule, item.level, item.file, item.line, item.message[:13]) for item in findings] == [
        ("unfinished-import", "error", "etc/app.env.j2", 2, "`lessee impor"),
        ("unfinished-import", "error", "etc/lessee.yaml", 4, "one and more"),
        ("unfinished-import", "error", "etc/lessee.yaml", 10, "the files of "),
    ]
    assert exit_code(findings) == 78
    assert exit_code(findings[:1]) == 65
    invalid = check("apps: 1\n# TODO lessee import: x\n").findings
    assert {item.rule for item in invalid} == {"configuration", "unfinished-import"}


def test_problems_of_an_included_template_are_reported_once_in_its_file():
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


def test_with_a_syntax_error_variables_that_the_template_may_set_are_not_reported():
    templates = {"app.env.j2": '{% extends "base.j2" %}\n{{ x }}{{ 1 | nope }}', "base.j2": "{% set x = 1 %}\n{{ 1"}
    assert found(HEAD + app(), **templates) == [
        ("unknown-filter", "etc/app.env.j2", 2),
        ("template-syntax", "etc/base.j2", 2),
    ]


@pytest.mark.parametrize("broken", ["", "nope: 1\n"])
def test_an_unreadable_template_is_reported_with_the_key_that_names_it(broken):
    files = "\n      - template: app.env.j2\n      - {template: b.env.j2, name: b}\n    "
    text = broken + HEAD + app(files=files).replace("[", "").replace("]", "") + "    env_template: c.j2\n"
    templates = {"app.env.j2": '{% include "d.j2" %}'}
    findings = [item for item in sorted_findings(check(text, **templates).findings) if item.rule != "configuration"]
    line = 7 + bool(broken)
    assert [(item.file, item.line, item.message) for item in findings] == [
        ("etc/d.j2", 0, "the template cannot be read"),
        ("etc/lessee.yaml", line + 1, "apps.web.files[1].template: b.env.j2: the template cannot be read"),
        ("etc/lessee.yaml", line + 3, "apps.web.env_template: c.j2: the template cannot be read"),
    ]


def test_a_template_that_does_not_compile_is_reported():
    text = "{% block a %}{% endblock %}\n{% block a %}{% endblock %}"
    assert found(HEAD + app(), **{"app.env.j2": text}) == [("template-syntax", "etc/app.env.j2", 2)]


def test_templates_of_an_invalid_configuration_are_checked_too():
    text = "nope: 1\ntemplate_dir: t\nsecrets: {prefix: '{environment}/'}\napps:\n" + app(
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
        ("format-mismatch", "etc/t/b.j2", 1),
        ("format-mismatch", "etc/t/c/d.json.j2", 1),
        ("wrong-arguments", "etc/t/e.j2", 1),
    ]


def test_paths_are_not_checked_with_an_invalid_configuration():
    assert found(
        "nope: 1\nenvironment: production\napps:\n" + app(), **{"app.env.j2": 'A={{ secret("production/a").b }}'}
    ) == [("configuration", "etc/lessee.yaml", 1)]


def test_public_variables_are_reported_unless_listed():
    text = 'A=1\n{% set s = secret("a") %}\nVITE_A={{ s.key }}\nVITE_B={{ s.b }}\nC={{ s.c }}\n'
    templates = {"app.env.j2": text, "e.j2": text}
    for more in ("", "    nope: 1\n"):  # With a valid and an invalid configuration.
        files = app(more=f"    env_template: e.j2\n    public_variables: [VITE_B]\n{more}")
        seen = [item for item in check(HEAD + files, **templates).findings if item.rule != "configuration"]
        assert [(item.rule, item.level, item.file, item.line) for item in seen] == [
            ("public-variable", "error", "etc/app.env.j2", 3),
            ("public-variable", "error", "etc/e.j2", 3),
        ]
        assert all("VITE_A takes a: key" in item.message and "VITE_B" not in item.message for item in seen)
    assert found(HEAD + app(more="    public_variables: [VITE_A, VITE_B]\n"), **templates) == []


def test_invalid_yaml_is_the_only_finding():
    assert found("apps: [\n") == [("configuration", "etc/lessee.yaml", 2)]


@pytest.mark.no_cover
def test_the_configuration_s_exit_code_precedes_that_of_a_template():
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
        ("/run/secrets/web", "/var/run/secrets/web", "duplicate-directory"),
        ("/var/run/secrets", "/run/secrets/web", "nested-directories"),
        ("/run/secrets/a", "/var/run/lessee", "duplicate-directory"),
        ("/run/secrets/a", "/var/run/lessee/web", "nested-directories"),
        ("/run/secrets/we", "/run/secrets/web", None),
        ("/srv/run/web", "/run/web", None),
    ],
)
def test_overlapping_directories_are_reported(first, second, rule):
    text = HEAD + "".join(
        f"  {name}:\n    directory: {directory}\n    files: [{{template: app.env.j2}}]\n"
        for name, directory in (("a.b", first), ("c", second))
    )
    expected = [(rule, "etc/lessee.yaml", 8)] if rule else []
    assert found(text, **{"app.env.j2": "A=1"}) == expected


def test_the_line_is_that_of_the_key_even_with_an_anchor():
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
def test_sighup_to_a_program_that_does_not_handle_it_is_reported(notify, level):
    checked = check(HEAD + app(more=f"    notify:\n      {notify[1:-1].replace(', ', chr(10) + '      ')}\n"),
                    **{"app.env.j2": "A=1"})  # fmt: skip
    node = [(item.rule, item.level, item.line, item.app) for item in checked.findings]
    line = 9 if "HUP" in notify else 7
    assert node == ([("sighup-not-handled", level, line, "web")] if level else [])


def test_a_valid_configuration_gives_input_for_further_checks():
    checked = check(
        HEAD + app(more="    env_template: e.j2\n"), **{"app.env.j2": 'A={{ secret("a").b }}', "e.j2": "B=1"}
    )
    assert not checked.findings
    assert [str(need) for need in checked.compiled_apps["web"].references] == ["kv/production/a"]
    assert [(output.name, text.split("=")[0]) for output, text in checked.texts.items()] == [
        ("app.env", "A"),
        ("", "B"),
    ]


@pytest.mark.parametrize("config", sorted(ROOT.glob("compose/*/lessee/lessee.yaml")), ids=lambda path: path.parts[-3])
def test_the_examples_have_no_findings(config):
    checked = check_project(
        PurePosixPath(config), config.read_text(), {}, lambda folder, name: (Path(folder) / name).read_text()
    )
    assert not checked.findings


@pytest.mark.no_cover
@pytest.mark.parametrize("template", sorted(ROOT.glob("templates/**/*.j2")), ids=lambda path: path.name)
def test_lessee_s_templates_have_no_findings(template):
    name, text = str(template.relative_to(ROOT / "templates")), template.read_text()
    public = ", ".join(re.findall(r"(?m)^((?:VITE|NEXT_PUBLIC)_\w+)=", text))
    more = f"    public_variables: [{public}]\n"
    assert not check(HEAD + app(files=f"{{template: {name}}}", more=more), **{name: text}).findings


def test_plain_http_to_another_machine_is_a_warning_at_its_line():
    vault = "vault:\n  address: http://a\n"
    own = "    vault:\n      addresses: [https://b, http://c]\n"
    text = f"{vault}{HEAD}{app(more=own)}{app('other')}"
    assert found(text, **{"app.env.j2": "A=1"}) == [
        ("insecure-http", "etc/lessee.yaml", 2),
        ("insecure-http", "etc/lessee.yaml", 10),
    ]
    meant = text.replace("http://a", "http://a\n  insecure_http: true")
    assert found(meant, **{"app.env.j2": "A=1"}) == []


CHILD = "    env_template: e.j2\n"
BY_FILE = "vault: {auth: {method: approle, role_id: r, secret_id_file: /etc/lessee/secret_id%s}}\n"
SECRET_ID = "secret_id_file: /etc/lessee/secret_id"
TOKEN = "the agent's token in state_dir: /run/lessee"


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("top", "more", "read"),
    [
        (BY_FILE % "", CHILD, [SECRET_ID, TOKEN]),
        (BY_FILE % "", "    notify: {child: true, action: restart}\n", [SECRET_ID, TOKEN]),
        (BY_FILE % "", "    notify: {command: [reload]}\n", None),
        (BY_FILE % "" + 'exec: {user: "1000:1000"}\n', CHILD, None),
        (BY_FILE % ", wrapped: true", CHILD, [TOKEN]),
        (BY_FILE % ", remove_secret_id_file_after_reading: true", CHILD, [TOKEN]),
        ("vault: {auth: {method: jwt, jwt_file: /var/run/jwt, role: r}}\n", CHILD, ["jwt_file: /var/run/jwt", TOKEN]),
        ("state_dir: /srv/own\n" + BY_FILE % ", wrapped: true", CHILD, [TOKEN.replace("/run/lessee", "/srv/own")]),
        ("vault: {auth: {method: token, token_file: /srv/token}}\n", CHILD, ["token_file: /srv/token"]),
        ("vault: {auth: {method: token}}\n", CHILD, None),
    ],
)
def test_what_a_child_of_the_agents_user_can_read_is_named(top, more, read):
    checked = check(top + HEAD + app(more=more), **{"app.env.j2": "A=1", "e.j2": "B=1"})
    rules = [(item.rule, item.level) for item in checked.findings]
    assert rules == [("child-reads-credentials", "warning")] * (read is not None)
    for item in checked.findings:
        assert item.message == f"the child of `lessee exec` has the agent's user, and can read {', '.join(read)}"


MORE = """
identities:
  team-b: {address: "https://vault-b:8200", auth: {method: token},
    secrets: {mount: kv-b, mounts: {old: {}}}}
"""
SEVERAL = "environment: production\nsecrets: {mount: kv, mounts: {kv2: {}}}\n" + MORE + "apps:\n"


def messages(text, template):
    return [f"{item.message}; {item.help}" for item in check(text, **{"app.env.j2": template}).findings]


def test_an_unknown_identity_or_mount_is_named_with_those_that_exist():
    template = (
        '{{ secret("a", identity="team-x").b }}\n{{ secret("a", mount="kv3").b }}\n'
        '{{ secret("a", mount="kv2", identity="team-b").b }}\n'
    )
    *_, last = messages(SEVERAL + app(), template)
    where = "`identities.team-b.secrets.mounts` in the configuration; known are kv-b, old"
    assert last == f"no KV mount is named 'kv2'; add it to {where}"
    assert messages(SEVERAL + app(), template)[:-1] == [
        "no identity is named 'team-x'; add it to `identities` in the configuration; known are team-b",
        "no KV mount is named 'kv3'; add it to `secrets.mounts` in the configuration; known are kv, kv2",
    ]
    known = '{{ secret("a", identity="team-b", mount="old").b }}{{ secret("a", mount="kv2", namespace="n").b }}\n'
    assert messages(SEVERAL + app(files="{template: app.env.j2, format: text}"), known) == []


def test_the_identities_of_an_invalid_configuration_are_known():
    template = 'A={{ secret("a", identity="team-b", mount="old").b }}{{ secret("a", mount="kv2").b }}\n'
    text = SEVERAL.replace("https://vault-b:8200", "no address") + app()
    assert messages(text, template) == messages(text, "A=1\n")


def test_an_identity_without_tls_is_reported_at_its_own_line():
    text = SEVERAL.replace("https://vault-b", "http://vault-b")
    assert [(item.rule, item.line) for item in check(text + app(), **{"app.env.j2": "A=1\n"}).findings] == [
        ("insecure-http", 5)
    ]


def test_a_rotation_period_shorter_than_the_confirmation_timeout_is_a_warning_at_its_line():
    target = "rotation:\n  jwt:\n    kind: vault\n    secret: a\n    keys: {b: {}}\n    rotation_period: "
    for period, lines in (("1m", [6]), ("5m", []), ("1d", [])):
        found = check(f"environment: x\n{target}{period}\n".replace("environment: x\n", "environment: x\n")).findings
        assert [item.line for item in found if item.rule == "short-rotation-period"] == [line + 1 for line in lines]
        assert exit_code(found) == 0


RESPONSES = """
monitor:
  audit: {file: /var/log/vault/audit.log}
  alerts: {smtp: {server: "${SMTP_SERVER}", sender: a@example.org, to: [b@example.org]}}
  responses:
    protected: []
    actions:
      - {rule: policy-changed, action: command, command: [page-me]}
"""


def test_a_response_that_can_never_run_is_an_error_and_variables_of_the_monitor_are_not_needed():
    def lines(action):
        text = HEAD + app() + RESPONSES + action
        return [(item.line, item.message) for item in check(text, **{"app.env.j2": "A=1"}).findings]

    assert lines("") == []
    line = (HEAD + app() + RESPONSES).count("\n") + 1
    [(at, text)] = lines("      - {rule: nonsense, action: revoke-token}\n")
    assert (at, text.partition(";")[0]) == (line, "monitor.responses.actions[1].rule: no rule has the name nonsense")
    [(at, _)] = lines("      - {rule: root-token, action: emergency, path: db, approval: required}\n")
    assert at == line


@pytest.mark.parametrize(
    ("files", "more", "names"),
    [
        ("{template: app.env.j2}", '    mode: "0444"\n', "app.env"),
        ('{template: app.env.j2, mode: "0644"}', "", "app.env"),
        ('{template: app.env.j2, mode: "0640"}', '    mode: "0444"\n', None),
        ("{template: app.env.j2, name: env.js}", '    mode: "0444"\n', None),
        ("{template: app.env.j2}", '    mode: "0444"\n    public_variables: [A]\n', None),
    ],
)
def test_files_that_every_user_may_read_are_reported_unless_visitors_of_a_frontend_get_them(files, more, names):
    findings = check(HEAD + app(files=files, more=more), **{"app.env.j2": "A=1"}).findings
    assert [(item.rule, item.level) for item in findings] == [("world-readable", "warning")] * (names is not None)
    assert all(item.message == f"apps.web.mode: every user of the machine can read {names}" for item in findings)


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ("uids: [1000, 65534]", True),
        ("uids: [1000]", False),
        ("uids: [65534], containers: [{project: shop, service: web}]", False),
    ],
)
def test_the_uid_of_unknown_users_at_a_socket_is_reported_unless_its_container_counts(settings, reported):
    more = f"    socket: {{path: /run/sockets/web.sock, {settings}}}\n"
    findings = check(HEAD + app(more=more), **{"app.env.j2": "A=1"}).findings
    assert [(item.rule, item.level) for item in findings] == [("overflow-uid", "warning")] * reported
    assert all(item.message.startswith("apps.web.socket: uid 65534 may read, and the kernel") for item in findings)
