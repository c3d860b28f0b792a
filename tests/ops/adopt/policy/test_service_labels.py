"""The apps of an adopted project as labels: the agent reads the same apps in them as in lessee.yaml."""

import json

import pytest
import yaml

from lessee.config.parsing import parse
from lessee.core.immutable import replace
from lessee.ops.adopt.policy.config_text import lessee_yaml
from lessee.ops.adopt.policy.override_text import override
from lessee.ops.adopt.policy.service_labels import compose_model, label_lines, reduced_model, service_labels
from lessee.ops.adopt.policy.template_texts import templates
from support.inputs.adopted_projects import DEPLOYMENT, plan, postgres_and_app, service, whole

LABELED = replace(DEPLOYMENT, labels=True)
VALUES = {
    "a URL": whole("A", "x"),
    "a dollar": whole("A", "x", field="$FIELD"),
    "quotes": whole("A", "x", field='it\'s "quoted"'),
    "a control character": whole("A", "x", field="a\x01b\u2028"),
}


def apps_of(config, texts):
    """The apps, with the texts of their templates in place of these."""
    found = {}
    for name, app in config.apps.items():
        files = [
            (texts[file.template] if texts else config.inline_templates[file.template].text, file.name, file.format)
            for file in app.files
        ]
        found[name] = (sorted(files), replace(app, files=()))
    return found


@pytest.mark.parametrize("value", VALUES)
def test_an_app_of_labels_is_that_of_lessee_yaml(value):
    settings = {"source": "lessee.yaml", "environ": {}}
    for of in (postgres_and_app(), plan([service(stop_grace_period="1m30s")], VALUES[value])):
        plain = parse(lessee_yaml(of, DEPLOYMENT), **settings)
        labeled = parse(lessee_yaml(of, LABELED), load_model=lambda _, of=of: compose_model(of), **settings)
        assert apps_of(labeled, None) == apps_of(plain, templates(of))


@pytest.mark.parametrize("value", VALUES)
def test_the_override_has_the_labels_of_the_model(value):
    of = plan([service()], VALUES[value])
    labels = service_labels(of, of.apps[0])
    text = "".join(f"{line}\n" for line in label_lines(labels))
    assert yaml.safe_load(text)["labels"] == labels == json.loads(compose_model(of))["services"]["app"]["labels"]
    assert text in override(of, LABELED)
    assert "labels:" not in override(of, DEPLOYMENT)


def test_a_template_is_a_block_that_a_person_can_edit():
    of = postgres_and_app()
    [app] = [app for app in of.apps if app.service == "app"]
    lines = list(label_lines(service_labels(of, app)))
    assert "      lessee.template.environment.sh: |" in lines
    assert any(line.startswith("        export DATABASE_URL=") for line in lines)
    assert '      lessee.mode: "0440"' in lines


def test_the_configuration_says_how_its_model_is_written_again():
    text = lessee_yaml(postgres_and_app(), LABELED)
    assert "run\n# `lessee adopt`: it writes that file again, with labels alone." in text
    assert "apps" not in yaml.safe_load(text)
    assert "first-fake-password" not in text + compose_model(postgres_and_app())


def test_the_model_of_compose_is_reduced_to_the_labels_as_adopt_writes_them():
    of = postgres_and_app()
    services = {
        app.service: {
            "labels": {**service_labels(of, app), "com.example.key": "canary"},
            "environment": {"FROM_ENV_FILE": "canary", "EMPTY": None},
            "env_file": [{"path": "/srv/app.env"}],
        }
        for app in of.apps
    }
    model = {"name": "shop", "services": services | {"other": {"environment": ["A=canary"]}}}
    assert reduced_model(model) == compose_model(of)
    assert json.loads(reduced_model({})) == {"services": {}}


ENVIRONMENT = {
    "DB_PASSWORD": "ref+openbao://database#password",
    "LOG_LEVEL": "info",
    "API_TOKEN": "canary-4f9aK2xQ81mZ",
    "PORT": 8080,
    "EMPTY": None,
}
LISTED = [f"{name}={value}" if value is not None else name for name, value in ENVIRONMENT.items()]


@pytest.mark.parametrize("environment", [ENVIRONMENT, LISTED])
@pytest.mark.parametrize(
    ("setting", "names"),
    [("true", ["DB_PASSWORD"]), ("all", ["DB_PASSWORD", "LOG_LEVEL", "PORT"]), ("false", []), (None, [])],
)
def test_the_reduced_model_has_the_variables_that_the_agent_renders_and_no_secret(environment, setting, names):
    labels = {"lessee.owner": "0:1000"} | ({"lessee.env": setting} if setting else {})
    text = reduced_model({"services": {"web": {"labels": labels, "environment": environment}}})
    found = json.loads(text)["services"]["web"]
    assert found["labels"] == labels
    assert sorted(found.get("environment", {})) == names
    assert "canary" not in text
