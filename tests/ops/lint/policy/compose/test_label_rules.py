"""`lessee check --compose` knows labels and references in place, and what does not read them."""

import json
from pathlib import PurePosixPath

import pytest

from lessee.core.errors import TemplateError
from lessee.ops.lint.policy.findings import sorted_findings
from lessee.ops.lint.policy.project import check_project
from support.inputs.compose_files import AGENT, LESSEE, check, found

LINE = AGENT.count("\n")
COMPOSE = f"compose: {{file: compose.json}}\n{LESSEE}"
REFERENCE = "ref+openbao://db#password"
LABELED = """
  api:
    pid: service:holder
    user: "1000"
    labels: {lessee.env: "true", lessee.notify: restart, lessee.notify.name: app.py}
    environment: {DB_PASSWORD: "ref+openbao://db#password", LOG_LEVEL: info}
    volumes: ["files:/run/secrets/api:ro"]
    restart: always
"""


def model(**services):
    return json.dumps({"services": services})


API = {
    "labels": {"lessee.env": "true", "lessee.notify": "restart", "lessee.notify.name": "app.py"},
    "environment": {"DB_PASSWORD": REFERENCE},
}


def rules(services, **more):
    return [item.rule for item in check(services, **more) if item.rule != "app-without-reader"]


def test_a_service_with_labels_that_are_read_has_no_findings():
    assert found(LABELED, lessee=COMPOSE, model=model(api=API)) == []


def test_labels_that_no_agent_reads_are_a_warning():
    [first] = [item for item in check(LABELED) if item.rule == "labels-unread"]
    assert (first.level, first.line) == ("warning", LINE + 4)
    assert first.help == "write `compose: {file: compose.json}` in it"
    [second] = [item for item in check(LABELED, lessee=COMPOSE, model=model(web={})) if item.rule == "labels-unread"]
    assert "compose.json has none of it" in second.message
    assert "docker compose config --no-interpolate --format json" in second.help


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("environment: {A: %s}", ["reference-unread"]),
        ("environment: ['A=%s']", ["reference-unread"]),
        ("environment: {A: %s}, labels: {lessee.env: 'false'}", ["reference-unread", "labels-unread"]),
        ("environment: {A: %s}, labels: [lessee.env=all]", ["labels-unread"]),
        ("environment: {A: %s}, labels: [lessee.env]", ["reference-unread", "labels-unread"]),
        ("environment: {A: %s}, labels: [traefik.enable=true]", ["reference-unread"]),
        ("environment: {A: %s}, command: [lessee, exec, --app, web, --, app]", []),
        ("environment: {A: %s@}, command: [lessee, exec, --app, web, --, app]", ["reference-malformed"]),
        ("environment: {A: , B: x}", []),
    ],
)
def test_a_reference_that_nothing_replaces_is_an_error(service, expected):
    more = {"templates": {"app.env.j2": "X=1\n"}}
    assert rules(f"x: {{{service.replace('%s', REFERENCE)}}}", **more) == expected


def test_a_reference_is_no_literal_secret_but_what_is_next_to_it_may_be_one():
    text = """
      x:
        command: [lessee, exec, --app, web, --, app]
        environment:
          PASSWORD: ref+openbao://db#password
          DB_URL: postgres://u:ref+openbao://db#password+@db/x
          BAD_PASSWORD: ref+openbao://db
          OTHER_URL: postgres://u:hunter2-and-more@db/ref+openbao://db#name
    """
    literal = [item.message for item in check(text) if item.rule == "literal-secret"]
    assert len(literal) == 1
    assert literal[0].startswith("OTHER_URL")


def test_a_variable_of_the_environment_shadows_that_of_a_dotenv_file_of_labels():
    text = LABELED.replace('lessee.env: "true"', 'lessee.env: "true", lessee.env_file: app.env')
    api = API | {"labels": API["labels"] | {"lessee.env_file": "app.env"}}
    [finding] = check(text, lessee=COMPOSE, model=model(api=api))
    assert (finding.rule, finding.level, finding.app) == ("shadowed-variable", "error", "api")
    assert "app.env is ignored" in finding.message


def test_labels_of_an_earlier_file_are_merged_and_may_be_reset():
    first = """
      x: {labels: {lessee.env: all}, environment: {A: ref+openbao://db#password}}
    """
    others = {"more.yaml": "services: {x: {labels: {lessee.env: !reset null}}}"}
    more = {"paths": ("compose.yaml", "more.yaml"), "others": others}
    assert rules(first, **more) == ["reference-unread"]
    others["more.yaml"] = "services: {x: {labels: {lessee.env_file: a.env}}}"
    assert rules(first, **more) == ["labels-unread"]


def test_a_reader_of_labels_is_their_service_whatever_the_app_is_called():
    text = LABELED.replace("labels: {", "labels: {lessee.app: site, ").replace(":ro", "")
    api = API | {"labels": API["labels"] | {"lessee.app": "site", "lessee.directory": "/run/secrets/web/x"}}
    api["labels"]["lessee.directory"] = "/run/secrets/site"
    agent_mount = check(text, lessee=COMPOSE, model=model(api=api))
    assert all(item.rule != "labels-unread" for item in agent_mount)


def test_findings_of_an_app_are_at_its_labels_and_those_of_its_template_too():
    notify = {"lessee.notify": "SIGHUP", "lessee.notify.name": "celery"}
    labels = {"lessee.template.app.json": '{\n{{ secret("a").b | nope }}', **notify}
    found = {item.rule: item for item in _checked(model(api={"labels": labels}, web={}))}
    issue, syntax = found["sighup-not-handled"], found["unknown-filter"]
    assert (issue.file, issue.line) == ("compose.json", 1)
    assert (syntax.rule, syntax.file, syntax.template) == (
        "unknown-filter",
        "compose.json",
        "service api: lessee.template.app.json",
    )
    assert syntax.message.startswith("service api: lessee.template.app.json, line 2: unknown filter")
    [mismatch] = _checked(model(api={"labels": {"lessee.template.app.json": '{"a": {{ secret("a").b }}'}}))
    assert (mismatch.rule, mismatch.file) == ("format-mismatch", "compose.json")
    [missing] = _checked(model(api={"labels": {"lessee.template.app.json": '{% include "x.j2" %}'}}))
    assert missing.rule == "template-unreadable"


def test_a_wrong_label_is_a_finding_in_the_model():
    [finding] = _checked(json.dumps({"services": {"api": {"labels": {"lessee.x": "y"}}}}, indent=1))[:1]
    assert (finding.rule, finding.file, finding.line) == ("configuration", "conf/compose.json", 5)


def _checked(text):
    def load(_, name):
        raise TemplateError("template not found", where=name, rule="template-unreadable")

    file = PurePosixPath("conf/lessee.yaml" if "lessee.x" in text else "lessee.yaml")
    config = "environment: testing\ncompose: {file: compose.json}\n"
    return sorted_findings(check_project(file, config, {}, load, lambda _: text).findings)
