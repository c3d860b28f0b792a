"""Templates of Go's, and the same text from what they become."""

import json
from pathlib import Path

import pytest

from lessee.config.parsing import parse
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from lessee.rendering.app_templates import compile_recipes, space_of
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler

# What Go 1.24 gave, with the functions of openbao-template 1.0.1: templates as people write them, and random ones of
# nested blocks, trim markers, pipes and text that Jinja would take for its own.
GO = json.loads((Path(__file__).parent / "rendered_by_go.json").read_text())


def rendered(template):
    """What lessee makes of what the import made, and the report."""
    report = Report()
    files = convert("t.ctmpl", template, lambda _: None, report)
    config = parse(files["lessee.yaml"], source="lessee.yaml", environ=GO["environ"])
    recipes = compile_recipes(config, Compiler(files.__getitem__, space_of(config)))
    mounts = ("secret", "kv")
    secrets = {Ref(mount, path): Secret(data) for mount in mounts for path, data in GO["secrets"].items()}
    inside = {
        path.removeprefix("app/"): Secret(data) for path, data in GO["secrets"].items() if path.startswith("app/")
    }
    folders = {Folder(mount, "app/"): inside for mount in mounts}
    [recipe] = recipes.values()
    generation = render(recipe, Inputs(secrets, folders, {}, GO["environ"])).generation
    return generation.files[0].content.decode(), report


@pytest.mark.parametrize(("template", "wanted"), GO["rendered"], ids=range(len(GO["rendered"])))
def test_what_go_renders_is_rendered_byte_for_byte(template, wanted):
    found, report = rendered(template)
    assert found == wanted
    assert not report.lost


@pytest.mark.parametrize(
    ("call", "wanted"),
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
def test_functions_of_sprig_are_carried_over(call, wanted):
    found, report = rendered(f"{{{{ {call} }}}}")
    assert found == wanted
    assert not report.lost


def test_a_mapping_is_gone_over_by_its_keys_as_go_does():
    found, report = rendered('{{ range parseJSON `{"b": "1", "B": "2", "a": "3"}` }}{{ . }}{{ end }}')
    assert found == "231"  # as by OpenBao 2.7
    assert not report.lost


def test_a_whole_answer_is_there_wherever_it_is_looked_at():
    db = '(secret "secret/data/db")'
    found, report = rendered(f"{{{{ if and {db} (not {db}) }}}}a{{{{ else }}}}b{{{{ end }}}}")
    assert found == "b"
    assert not report.lost
