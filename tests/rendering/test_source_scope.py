"""What templates may read from a source: the scope follows from the configuration."""

from lessee.config.parsing import parse
from lessee.core.paths import Ref
from lessee.rendering.app_templates import path_scope_of, variable_scope_of
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
