"""What `setup` may say, and what it may not say together."""

import re

import pytest

from lessee.config.grammar.setup import Component
from lessee.config.parsing import environments, parse
from lessee.core.errors import ConfigError
from support.paths import ROOT

APPS = "apps: {web: {directory: /run/web, files: [{template: a.j2}]}}\n"


def read(text, environment="production", **environ):
    return parse(text, source="lessee.yaml", environ=environ, environment=environment, blocks=("setup", "rotation"))


def problems(text, **environ):
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return [str(problem) for problem in caught.value.problems]


def test_the_environment_that_is_set_up_wins_over_the_files_own():
    config = read(f"environment: testing\n{APPS}")
    assert (config.environment, config.secrets.prefix) == ("production", "production/")
    assert "testing" in config.foreign_environments


def test_the_environments_are_known_whatever_else_is_wrong():
    assert environments("setup: {environments: [a, b]}\nnonsense: 1", source="x", environ={}) == ("a", "b")
    with pytest.raises(ConfigError, match=r"^x:"):
        environments("- nothing", source="x", environ={})


def test_an_operators_variables_are_looked_up_where_they_are_needed():
    text = "setup: {audit: {file: '${LOG}'}}"
    assert read(text, LOG="/log").setup.audit.file == "/log"
    assert problems(text) == ["lessee.yaml:1: setup.audit.file: ${LOG} is not set; set it, or write ${LOG:-default}"]
    assert parse(text, source="lessee.yaml", environ={}).setup.audit is None


def test_both_forms_of_a_component_are_read():
    text = "setup: {components: {app: [read], ci: {rights: [read], below: ['', /mcp], cidrs: [10.1.2.3/8, '::1']}}}"
    components = read(text).setup.components
    assert components["app"] == ("read",)
    assert components["ci"] == Component(rights=("read",), below=("", "mcp/"), cidrs=("10.0.0.0/8", "::1/128"))


ENGINES = """
setup:
  database: {mount: "{environment}/x", connections: {}}
  pki: {mount: "{environment}/x", common_name: a}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("setup: {environments: [a, b, a]}", "setup.environments: `a` stands there twice; leave one of them out"),
        (
            "setup: {environments: [a, lessee]}",
            "setup.environments: `lessee` is where setup keeps what all environments share; name it otherwise",
        ),
        (
            "setup: {environments: [prod, Prod-eu]}",
            "setup.environments: `Prod-eu` begins with `prod-`, as the policies and roles of `prod` do; name one of",
        ),
        ("secrets: {prefix: all/}", "secrets.prefix: without {environment} all environments would read the same"),
        (
            f"setup: {{components: {{Web: [read]}}}}\n{APPS}",
            "apps.web: its policy and role would be those of setup.components.Web; name one of them otherwise",
        ),
        (
            "setup: {components: {a: {rights: [read], token_ttl: 2h, token_max_ttl: 1h}}}",
            "setup.components.a.token_ttl: it is longer than token_max_ttl; make it shorter",
        ),
        ("secrets: {prefix: '{environment}/+/'}", "secrets.prefix: in a policy `+` means any element; name the folder"),
        ("secrets: {mount: a/+}", "secrets.mount: in a policy `+` means any element"),
        ("setup: {secrets: {lessee/setup: {}}}", "what is below `lessee` is lessee's own; name the folder otherwise"),
        ("setup: {apps: {token_ttl: 48h}}", "setup.apps.token_ttl: it is longer than token_max_ttl"),
        (
            ENGINES,
            "setup.pki.mount: the database engine is mounted there; name another path",
        ),
        (
            "setup: {pki: {mount: pki, common_name: a}}",
            "setup.pki.mount: expected a mount's path that begins with {env",
        ),
        ("setup: {components: {a: []}}", "setup.components.a: the list is empty"),
        ("setup: {components: {a: {rights: [read], cidrs: [10.0.0.0/33]}}}", "expected an address or a network"),
        ("setup: {components: {a: {rights: [read], below: ['a*']}}}", "below[0]: expected a folder below the env"),
        ("setup: {secrets: {a: {b: {generate: 3, env: B}}}}", "found `generate`, `env`"),
        ("setup: {audit: {file: relative}}", "setup.audit.file: expected an absolute path"),
    ],
)
def test_what_makes_no_sense_is_told(text, told):
    [problem] = problems(text)
    assert told in problem


CONNECTION = "setup: {database: {connections: {a: {username: u, password: {prompt: true}, url: '%s'}}}}"


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
def test_a_password_has_no_place_in_a_url(url):
    [problem] = problems(CONNECTION % url.replace(" ", "&"))
    assert "without a password: the server puts it in, where {{password}} stands" in problem
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
def test_a_url_is_as_the_plugins_want_it(url):
    assert read(CONNECTION % url).setup.database.connections["a"].url == url


def test_what_the_page_for_operators_shows_is_right():
    text = (ROOT / "OPERATIONS.md").read_text()
    [shown] = [block for block in re.findall("```yaml\n(.*?)```", text, re.DOTALL) if block.startswith("setup:")]
    assert read(shown).setup.database.mount == "{environment}/database"


def test_apps_without_roles_clash_with_nobody():
    assert read(f"setup: {{apps: false, components: {{web: [read]}}}}\n{APPS}").setup.apps is False


@pytest.mark.parametrize(
    "block", ["setup: {components: {Rotator: [read]}}", "apps: {rotator: {directory: /run/r, files: [{template: a}]}}"]
)
def test_where_something_is_rotated_nobody_else_is_called_rotator(block):
    assert read(block)
    [problem] = problems(f"{block}\nrotation: {{a: {{kind: vault, secret: a, keys: {{b: {{}}}}}}}}")
    assert problem.endswith("otator: its policy and role would be those of rotation; name one of them otherwise")
