"""A template of Vault Agent or consul-template that lessee gets as Jinja is met with what converts it."""

import pytest

from lessee.core.errors import TemplateError
from lessee.rendering.sandbox.environment import Sandbox
from lessee.rendering.template_code import translated_errors

HINT = "it looks like a Go template, as of Vault Agent: name it FILE.ctmpl, and `lessee import FILE.ctmpl` converts it"


def error_of(text):
    with pytest.raises(TemplateError) as failed, translated_errors("a.j2", text):
        Sandbox({}).parse(text, "a.j2")
    return str(failed.value)


@pytest.mark.parametrize(
    "text",
    [
        '{{ with secret "secret/data/db" }}{{ .Data.data.password }}{{ end }}',
        "{{ .Data.data.password }}",
        '{{- range secrets "secret/metadata/" }}{{ . }}{{ end }}',
        '{{ key "a/b" }}',
        "{{ $x := 1 }}{{ $x }}",
        "{{ if eq 1 2 }}{{ end }}",
        '{{ secret "secret/db" }}',
    ],
)
def test_a_go_template_is_named(text):
    assert HINT in error_of(text)


@pytest.mark.parametrize("text", ["{{ a b }}", "{% if %}", "{{ within x }}", "{{ secret(x y) }}", "{{ ends with }}"])
def test_another_mistake_is_not(text):
    assert "Go template" not in error_of(text)
