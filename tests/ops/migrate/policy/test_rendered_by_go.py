"""Imported templates render the same output as the Go templates."""

import json
from pathlib import Path

import pytest

from lessee.config.parsing import parse
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler

# The output of Go 1.24 with the functions of openbao-template 1.0.1, for typical templates, and for random ones with
# nested blocks, trim markers, pipelines and text that contains Jinja's delimiters.
GO = json.loads((Path(__file__).parent / "rendered_by_go.json").read_text())


def rendered(template):
    """The output of the imported template, and the report."""
    report = Report()
    files = convert("t.ctmpl", template, lambda _: None, report)
    config = parse(files["lessee.yaml"], source="lessee.yaml", environ=GO["environ"])
    compiled_apps = compile_apps(config, Compiler(files.__getitem__, path_scope_of(config)))
    mounts = ("secret", "kv")
    secrets = {Ref(mount, path): Secret(data) for mount in mounts for path, data in GO["secrets"].items()}
    inside = {
        path.removeprefix("app/"): Secret(data) for path, data in GO["secrets"].items() if path.startswith("app/")
    }
    folders = {Folder(mount, "app/"): inside for mount in mounts}
    [compiled_app] = compiled_apps.values()
    generation = render(compiled_app, Inputs(secrets, folders, {}, GO["environ"])).generation
    return generation.files[0].content.decode(), report


@pytest.mark.parametrize(("template", "expected"), GO["rendered"], ids=range(len(GO["rendered"])))
def test_the_output_is_that_of_go_byte_for_byte(template, expected):
    found, report = rendered(template)
    assert found == expected
    assert not report.has_losses


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('sprig_upper "a" | sprig_lower', "a"),
        ('"a" | sprig_default "b"', "a"),
        ('env "NOPE" | sprig_default "b"', "b"),
        ('sprig_coalesce (env "NOPE") "" "c"', "c"),
        ('sprig_ternary "a" "b" true', "a"),
        ('sprig_empty ""', "true"),
        ('sprig_list "a" "b" | sprig_join "-"', "a-b"),
        ('"a,b" | sprig_splitList "," | sprig_join "-"', "a-b"),
        ('"a\\nb" | sprig_indent 2', "  a\n  b"),
        ('"a\\nb" | sprig_nindent 2', "\n  a\n  b"),
        ('sprig_quote "a"', '"a"'),
        ('sprig_squote "a"', "'a'"),
        ('"abc" | sprig_trimPrefix "a" | sprig_trimSuffix "c"', "b"),
        ('" a " | sprig_trim', "a"),
        ('"xax" | sprig_trimAll "x"', "a"),
        ('"a" | sprig_b64enc | sprig_b64dec', "a"),
        ('sprig_replace "a" "b" "aa"', "bb"),
        ('sprig_contains "a" "cab"', "true"),
        ('sprig_hasPrefix "a" "ab"', "true"),
        ('sprig_hasSuffix "b" "ab"', "true"),
        ('sprig_env "HOST"', "h"),
        ('"<" | sprig_toJson', '"\\u003c"'),
        ('"<" | sprig_toRawJson', '"<"'),
        ('sprig_int "7"', "7"),
    ],
)
def test_sprig_functions_are_carried_over(call, expected):
    found, report = rendered(f"{{{{ {call} }}}}")
    assert found == expected
    assert not report.has_losses


def test_a_range_over_a_map_is_in_the_order_of_its_keys():
    found, report = rendered('{{ range parseJSON `{"b": "1", "B": "2", "a": "3"}` }}{{ . }}{{ end }}')
    assert found == "231"  # The output of OpenBao 2.7.
    assert not report.has_losses


def test_a_whole_response_is_true_in_a_condition():
    db = '(secret "secret/data/db")'
    found, report = rendered(f"{{{{ if and {db} (not {db}) }}}}a{{{{ else }}}}b{{{{ end }}}}")
    assert found == "b"
    assert not report.has_losses


def test_a_range_with_two_variables_has_the_keys_of_a_map_and_the_indices_of_a_list():
    loop = "{{ range $k, $v := parseJSON (%s) }}{{ $k }}={{ $v }};{{ end }}"
    for name, value, expected in [("A", '{"b": 1, "B": 2, "a": 3}', "B=2;a=3;b=1;"), ("A", '["x", "y"]', "0=x;1=y;")]:
        report = Report()
        files = convert("t.ctmpl", loop % f'env "{name}"', lambda _: None, report)
        config = parse(files["lessee.yaml"], source="lessee.yaml", environ={name: value})
        [app] = compile_apps(config, Compiler(files.__getitem__, path_scope_of(config))).values()
        content = render(app, Inputs({}, {}, {}, {name: value})).generation.files[0].content
        assert content.decode() == expected  # The output of OpenBao 2.7.
        assert not report.has_losses
