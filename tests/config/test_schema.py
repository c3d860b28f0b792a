"""The schema that editors use says what the reader does."""

import os
from importlib import resources
from pathlib import Path

import pytest
import yaml
from msgspec import inspect

from lessee.config.grammar import types
from lessee.config.parsing import parse
from lessee.config.schema import schema, schema_text
from lessee.core.errors import ConfigError

EXAMPLE = Path(__file__).with_name("test_config_example.yaml").read_text()


@pytest.fixture
def mistakes():
    """What an editor would underline."""
    try:
        import jsonschema  # noqa: PLC0415  # Tests that do without it shall run without it.
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("pip install jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    return lambda text: list(validator.iter_errors(yaml.safe_load(text)))


def test_the_schema_in_the_package_is_the_programs():
    kept = resources.files("lessee").joinpath("lessee.schema.json").read_text(encoding="utf-8")
    assert kept == schema_text(), "write it anew: python -m lessee check --schema"


def test_every_key_says_what_it_means():
    blocks = [schema(), *schema()["$defs"].values()]
    for block in blocks:
        for name, key in block["properties"].items():
            assert "const" in key or key["description"].endswith((".", "}")), name


def test_defaults_are_written_as_in_the_file():
    defaults = {
        (block, name): key["default"]
        for block, definition in schema()["$defs"].items()
        for name, key in definition["properties"].items()
        if "default" in key
    }
    assert defaults["Secrets", "refresh"] == "1s"
    assert defaults["Restart", "attempts"] == 5
    assert defaults["Vault", "insecure"] is False
    assert ("App", "refresh") not in defaults


def test_a_file_that_says_everything_is_valid(mistakes):
    assert not mistakes(EXAMPLE)


@pytest.mark.parametrize(
    "text",
    [
        "apps: {web: {directory: '${DIR}', allow_disk: '${D}', files: [{template: a.j2, format: '${F}'}]}}",
        "secrets: {refresh: '${R:-1s}'}",
        "apps:",
        "x-anything: [1]",
        "exec: {restart: {attempts: '${N}'}}",
    ],
)
def test_an_editor_takes_what_lessee_takes(mistakes, text):
    assert not mistakes(text)


@pytest.mark.parametrize(
    "text",
    [
        "nope: 1",
        "secrets: {refresh: 1}",
        "secrets: {refresh: 1 s}",
        "secrets: {prefix: '{other}'}",
        "apps: {a/b: {directory: /d}}",
        "apps: {web: {files: [{template: a.j2}]}}",
        "apps: {web: {directory: /d, files: []}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, mode: 0440}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2, name: ..data}]}}",
        "apps: {web: {directory: /d, files: [{template: a.j2}], notify: {process: {name: a}, http: http://a}}}",
        "vault: {auth: {method: aprole}}",
        "vault: {auth: {role_id: r}}",
        "vault: {address: 'https://user:password@vault'}",
    ],
)
def test_an_editor_refuses_what_lessee_refuses(mistakes, text):
    assert mistakes(text)
    with pytest.raises(ConfigError):
        parse(f"environment: e\n{text}", source="lessee.yaml", environ={})


def test_a_type_that_the_file_cannot_hold_is_a_mistake_of_ours():
    with pytest.raises(TypeError, match="no form"):
        types.forms(inspect.type_info(bytes))
