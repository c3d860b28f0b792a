"""The JSON Schema accepts and rejects what the loader does."""

import os
from importlib import resources
from pathlib import Path

import pytest
import yaml
from msgspec import inspect

from lessee.config.grammar.block import forms
from lessee.config.parsing import parse
from lessee.config.schema import schema, schema_text
from lessee.core.errors import ConfigError

EXAMPLE = Path(__file__).with_name("test_config_example.yaml").read_text()


@pytest.fixture(scope="module")
def mistakes():
    """The errors that an editor would underline."""
    try:
        import jsonschema  # noqa: PLC0415  # The other tests run without it.
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("pip install jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    return lambda text: list(validator.iter_errors(yaml.safe_load(text)))


def test_the_schema_in_the_package_is_up_to_date():
    packaged = resources.files("lessee").joinpath("lessee.schema.json").read_text(encoding="utf-8")
    assert packaged == schema_text(), "update it: python -m lessee check --schema > agent/lessee/lessee.schema.json"


def test_every_key_has_a_description():
    blocks = [schema(), *schema()["$defs"].values()]
    for block in blocks:
        for name, key in block["properties"].items():
            assert "const" in key or key["description"].endswith((".", "}")), name


def test_defaults_are_formatted_as_in_the_file():
    defaults = {
        (block, name): key["default"]
        for block, definition in schema()["$defs"].items()
        for name, key in definition["properties"].items()
        if "default" in key
    }
    assert defaults["Secrets", "refresh_interval"] == "1s"
    assert defaults["Restart", "max_attempts"] == 5
    assert defaults["Vault", "tls_skip_verify"] is False
    assert ("App", "refresh_interval") not in defaults


@pytest.mark.no_cover
def test_a_file_with_every_key_is_valid(mistakes):
    assert not mistakes(EXAMPLE)


@pytest.mark.parametrize(
    "text",
    [
        "apps: {web: {directory: '${DIR}', allow_disk: '${D}', files: [{template: a.j2, format: '${F}'}]}}",
        "secrets: {refresh_interval: '${R:-1s}'}",
        "apps: {web: {directory: /d, files: [{template: a.j2, name: ./tls//.private/server..pem}]}}",
        "apps:",
        "x-anything: [1]",
        "exec: {restart: {max_attempts: '${N}'}}",
    ],
)
def test_the_schema_accepts_what_lessee_accepts(mistakes, text):
    assert not mistakes(text)


@pytest.mark.parametrize(
    "text",
    [
        "nope: 1",
        "secrets: {refresh_interval: 1}",
        "secrets: {refresh_interval: 1 s}",
        "secrets: {prefix: '{other}'}",
        "apps: {a/b: {directory: /d}}",
        "apps: {web: {files: [{template: a.j2}]}}",
        "apps: {web: {directory: /d, files: []}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, mode: 0440}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, name: ..data}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, name: tls/../a}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, name: tls/}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, name: /tls/a}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2}], notify: {process: {name: a}, http: http://a}}}",
        "vault: {auth: {method: aprole}}",
        "vault: {auth: {role_id: r}}",
        "vault: {address: 'https://user:password@vault'}",
    ],
)
def test_the_schema_rejects_what_lessee_rejects(mistakes, text):
    assert mistakes(text)
    with pytest.raises(ConfigError):
        parse(f"environment: e\n{text}", source="lessee.yaml", environ={})


def test_a_python_type_without_a_form_in_yaml_is_an_error():
    with pytest.raises(TypeError, match="no form"):
        forms(inspect.type_info(bytes))
