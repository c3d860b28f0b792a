"""What templates may read from a source: the scope follows from the configuration."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import TemplateListError
from lessee.core.paths import Ref
from lessee.rendering.app_templates import compile_apps, path_scope_of, variable_scope_of
from lessee.rendering.templates import Compiler

TEXT = """
environment: testing
setup: {environments: [testing, production]}
sources:
  files: {kind: directory, directory: /run/secrets}
  cloud: {kind: aws-ssm, region: eu-central-1, shared_prefixes: [all]}
"""


def test_a_template_reads_a_source_under_its_prefix_and_none_of_its_credentials():
    config = parse(TEXT, source="lessee.yaml", environ={})
    text = '{{ secret("a", source="files").value }}{{ secret("b", source="cloud").value }}{{ secret("c").value }}'
    compiled = Compiler(lambda _name: text, path_scope_of(config)).compile("a.j2")
    expected = {
        Ref("files::", "a", None, "files"),
        Ref("cloud::", "testing/b", None, "cloud"),
        Ref("secret", "testing/c"),
    }
    assert set(compiled.needs) == expected
    assert "AWS_SECRET_ACCESS_KEY" in variable_scope_of(config).credentials


APPS = """
apps:
  web: {directory: /run/web, files: [{template: a.j2}]}
  other: {directory: /run/other, files: [{template: b.j2}]}
"""


def test_a_source_is_for_the_apps_that_it_names_alone():
    text = TEXT.replace("directory: /run/secrets}", "directory: /run/secrets, apps: [web]}") + APPS
    config = parse(text, source="lessee.yaml", environ={})
    templates = {"a.j2": '{{ secret("a", source="files").value }}', "b.j2": '{{ secret("b", source="cloud").value }}'}
    compiled = compile_apps(config, Compiler(templates.__getitem__, path_scope_of(config)))
    assert set(compiled) == {"web", "other"}
    templates["b.j2"] += '{{ secrets("", source="files") | length }}'
    refused = {}
    compiled = compile_apps(config, Compiler(templates.__getitem__, path_scope_of(config)), refused=refused)
    assert set(compiled) == {"web"}
    expected = (
        "apps.other: its templates read the source 'files', which is for other apps; add other to sources.files.apps"
    )
    assert str(refused["other"]).startswith(expected)
    with pytest.raises(TemplateListError):
        compile_apps(config, Compiler(templates.__getitem__, path_scope_of(config)))
