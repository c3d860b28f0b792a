"""Files are rendered in memory with real secrets, and nothing that Vault would have to make is asked for."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.ops.validate.policy.trial_files import try_files
from lessee.rendering.app_templates import compile_recipes, space_of
from lessee.rendering.render import Inputs
from lessee.rendering.templates import Compiler

VALUE = "not-a-real-value"
SECRETS = {Ref("secret", "testing/app"): Secret({"key": VALUE})}


def tried(environ=None, **texts):
    """Of templates by name, with `.` for `_`."""
    files = [{"template": name.replace("_", ".")} for name in texts]
    app = {"directory": "/run/x", "files": files} | ({"environ": "environ"} if environ else {})
    source = {name.replace("_", "."): text for name, text in texts.items()} | {"environ": environ}
    config = parse(
        json.dumps({"environment": "testing", "apps": {"web": app if files else {**app, "files": None}}}),
        source="lessee.yaml",
        environ={},
        for_child=True,
    )
    recipe = compile_recipes(config, Compiler(source.__getitem__, space_of(config)))["web"]
    return try_files(recipe, Inputs(SECRETS, {}, {}, {}))


def test_a_file_is_known_again_by_its_content_alone():
    found = tried(a_env='A={{ secret("app").key }}\n')
    assert found.is_same("a.env", f"A='{VALUE}'\n".encode())
    assert not found.is_same("a.env", b"A=other\n")
    assert VALUE.encode() not in found.files["a.env"]
    assert (found.made_up, found.faults) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        'A={{ dynamic("database/creds/web").password }}\n',
        'A={{ dynamic("database/creds/web").port | int + 1 }}\n',
        'A={{ env("HOSTNAME", "none") }}\n',
    ],
)
def test_what_would_be_made_or_is_the_agents_own_is_rendered_and_not_compared(text):
    found = tried(a_env=text, b_env="B=1\n")
    assert found.made_up == ("a.env",)
    assert list(found.files) == ["b.env"]


def test_the_environment_of_a_child_is_rendered_too():
    found = tried('A={{ secret("app").key }}\n', b_env="B=1\n")
    assert found.made_up == ("environ",)
    assert found.faults == ()


def test_what_cannot_be_rendered_is_told_without_a_value():
    found = tried(a_env='A={{ secret("app").nowhere }}\n', b_env='{{ dynamic("database/creds/web").x | int + "1" }}\n')
    assert list(found.files) == []
    assert found.faults[0].startswith("a.env:1: ")
    assert len(found.faults) == 2
    assert VALUE not in str(found.faults)
