"""The block `setup`: valid ones are read, and what would mix environments is reported."""

import re

import pytest

from lessee.config.grammar.setup import Component
from lessee.config.parsing import environments, has_block, parse
from lessee.core.errors import ConfigError
from support.paths import ROOT

APPS = "apps: {web: {directory: /run/web, files: [{template: a.j2}]}}\n"


def read(text, environment="production", **environ):
    return parse(text, source="lessee.yaml", environ=environ, environment=environment, blocks=("setup", "rotation"))


def problems(text, **environ):
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return [str(problem) for problem in caught.value.problems]


def test_the_environment_of_the_command_overrides_that_of_the_file():
    config = read(f"environment: testing\n{APPS}")
    assert (config.environment, config.secrets.prefix) == ("production", "production/")
    assert "testing" in config.foreign_environments


def test_the_environments_are_read_even_from_a_file_with_problems():
    assert environments("setup: {environments: [a, b]}\nnonsense: 1", source="x", environ={}) == ("a", "b")
    with pytest.raises(ConfigError, match=r"^x:"):
        environments("- nothing", source="x", environ={})


def test_an_empty_block_counts_as_written():
    assert has_block("setup: {}", "setup", source="x")
    assert has_block("setup:", "setup", source="x")
    assert not has_block("apps: {setup: {}}", "setup", source="x")


def test_only_the_command_of_a_block_reads_its_variables():
    text = "setup: {audit: {file: '${LOG}'}}"
    assert read(text, LOG="/log").setup.audit.file == "/log"
    assert problems(text) == ["lessee.yaml:1: setup.audit.file: ${LOG} is not set; set it, or write ${LOG:-default}"]
    assert parse(text, source="lessee.yaml", environ={}).setup.audit is None


def test_both_forms_of_a_component_are_read():
    ci = "{capabilities: [read], prefixes: ['', /mcp], bound_cidrs: [10.1.2.3/8, '::1']}"
    components = read(f"setup: {{components: {{app: [read], ci: {ci}}}}}").setup.components
    assert components["app"] == ("read",)
    assert components["ci"] == Component(
        capabilities=("read",), prefixes=("", "mcp/"), bound_cidrs=("10.0.0.0/8", "::1/128")
    )


ENGINES = """
setup:
  database: {mount: "{environment}/x", connections: {}}
  pki: {mount: "{environment}/x", common_name: a}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("setup: {environments: [a, b, a]}", "setup.environments: duplicate environment `a`; remove one of them"),
        (
            "setup: {environments: [a, lessee]}",
            "setup.environments: the name `lessee` is reserved for what all environments share; choose",
        ),
        (
            "setup: {environments: [prod, Prod-eu]}",
            "setup.environments: `Prod-eu` begins with `prod-`, and so do the names of the policies and roles",
        ),
        (
            "secrets: {prefix: all/}",
            "secrets.prefix: without {environment} in it, all environments would read the same",
        ),
        (
            f"setup: {{components: {{Web: [read]}}}}\n{APPS}",
            "apps.web: its policy and role would be those of setup.components.Web; rename one of the two",
        ),
        (
            "setup: {components: {a: {capabilities: [read], token_ttl: 2h, token_max_ttl: 1h}}}",
            "setup.components.a.token_ttl: it is longer than token_max_ttl; make it shorter",
        ),
        (
            "secrets: {prefix: '{environment}/+/'}",
            "secrets.prefix: a path element `+` matches any element in a policy; choose",
        ),
        ("secrets: {mount: a/+}", "secrets.mount: a path element `+` matches any element"),
        ("setup: {secrets: {lessee/setup: {}}}", "paths below `lessee` are reserved for lessee; choose another path"),
        ("setup: {apps: {token_ttl: 48h}}", "setup.apps.token_ttl: it is longer than token_max_ttl"),
        (
            ENGINES,
            "setup.pki.mount: the database engine has the same mount path; choose another mount path",
        ),
        (
            "setup: {pki: {mount: pki, common_name: a}}",
            "setup.pki.mount: expected a mount path that begins with {env",
        ),
        ("setup: {components: {a: []}}", "setup.components.a: the list is empty"),
        (
            "setup: {components: {a: {capabilities: [read], bound_cidrs: [10.0.0.0/33]}}}",
            "expected an address or a network",
        ),
        (
            "setup: {components: {a: {capabilities: [read], prefixes: ['a*']}}}",
            "prefixes[0]: expected a path prefix below the env",
        ),
        ("setup: {secrets: {a: {b: {generate: 3, env: B}}}}", "found `generate`, `env`"),
        (
            "setup: {secrets: {a: {b: {generate: 3, json: true}}}}",
            "setup.secrets.a.b.json: a generated value is text, not JSON; remove one of them",
        ),
        ("setup: {audit: {file: relative}}", "setup.audit.file: expected an absolute path"),
    ],
)
def test_each_mistake_is_reported(text, expected):
    [problem] = problems(text)
    assert expected in problem


CONNECTION = "setup: {database: {connections: {a: {username: u, password: {prompt: true}, connection_url: '%s'}}}}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:canary@db/a",
        "postgresql://{{username}}:canary{{password}}@db/a",
        "u:canary@tcp(db:3306)/",
        "host=db password=canary user=a",
        "sqlserver://db?user=u&PWD=canary",
    ],
)
def test_a_password_in_a_connection_url_is_rejected(url):
    [problem] = problems(CONNECTION % url.replace(" ", "&"))
    assert "without a password: Vault fills it in for {{password}}" in problem
    assert "canary" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://{{username}}:{{password}}@db:5432/a?x=y@z",
        "{{username}}:{{password}}@tcp(127.0.0.1:3306)/",
        "postgresql://db/a",
        "postgresql://{{username}}@db/a",
        "sqlserver://{{username}}:{{password}}@db:1433",
    ],
)
def test_the_url_formats_of_all_plugins_are_accepted(url):
    assert read(CONNECTION % url).setup.database.connections["a"].connection_url == url


def test_the_example_in_the_operators_manual_is_valid():
    text = (ROOT / "docs/how-to/operations/environments.md").read_text()
    [example] = [block for block in re.findall("```yaml\n(.*?)```", text, re.DOTALL) if block.startswith("setup:")]
    assert read(example).setup.database.mount == "{environment}/database"


def test_apps_without_roles_cannot_clash():
    assert read(f"setup: {{apps: false, components: {{web: [read]}}}}\n{APPS}").setup.apps is False


def test_with_issued_roles_the_name_issuer_is_reserved():
    block = "setup: {components: {issuer: [read]}}"
    assert read(block)
    [problem] = problems(f"{block}\nissue: {{roles: {{a: {{units: [a.service]}}}}}}")
    assert problem.endswith("issuer: its policy and role would be those of issue; rename one of the two")


@pytest.mark.parametrize(
    "block", ["setup: {components: {Rotator: [read]}}", "apps: {rotator: {directory: /run/r, files: [{template: a}]}}"]
)
def test_with_rotation_targets_the_name_rotator_is_reserved(block):
    assert read(block)
    [problem] = problems(f"{block}\nrotation: {{a: {{kind: vault, secret: a, keys: {{b: {{}}}}}}}}")
    assert problem.endswith("otator: its policy and role would be those of rotation; rename one of the two")
