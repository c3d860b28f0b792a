"""Files are rendered in memory with real secrets and sample credentials, and only fingerprints remain."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.ops.validate.policy.trial_files import render_files
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.render import Inputs
from lessee.rendering.templates import Compiler

VALUE = "not-a-real-value"
SECRETS = {Ref("secret", "testing/app"): Secret({"key": VALUE})}


def rendered(environ=None, **texts):
    """The rendered templates; names have `_` instead of `.`."""
    files = [{"template": name.replace("_", ".")} for name in texts]
    app = {"directory": "/run/x", "files": files} | ({"env_template": "environ"} if environ else {})
    source = {name.replace("_", "."): text for name, text in texts.items()} | {"environ": environ}
    config = parse(
        json.dumps({"environment": "testing", "apps": {"web": app if files else {**app, "files": None}}}),
        source="lessee.yaml",
        environ={},
        for_child=True,
    )
    compiled_app = compile_apps(config, Compiler(source.__getitem__, path_scope_of(config)))["web"]
    return render_files(compiled_app, Inputs(SECRETS, {}, {}, {}))


def test_a_file_matches_only_its_own_content():
    result = rendered(a_env='A={{ secret("app").key }}\n')
    assert result.matches("a.env", f"A='{VALUE}'\n".encode())
    assert not result.matches("a.env", b"A=other\n")
    assert VALUE.encode() not in result.fingerprints["a.env"]
    assert (result.uncompared, result.errors) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        'A={{ dynamic("database/creds/web").password }}\n',
        'A={{ dynamic("database/creds/web").port | int + 1 }}\n',
        'A={{ env("HOSTNAME", "none") }}\n',
    ],
)
def test_resultwith_dynamic_credentials_or_env_are_not_compared(text):
    result = rendered(a_env=text, b_env="B=1\n")
    assert result.uncompared == ("a.env",)
    assert list(result.fingerprints) == ["b.env"]


def test_the_environment_of_a_child_is_rendered():
    result = rendered('A={{ secret("app").key }}\n', b_env="B=1\n")
    assert result.uncompared == ("environ",)
    assert result.errors == ()


def test_rendering_errors_have_no_value():
    result = rendered(
        a_env='A={{ secret("app").missing }}\n', b_env='{{ dynamic("database/creds/web").x | int + "1" }}\n'
    )
    assert list(result.fingerprints) == []
    assert result.errors[0].startswith("a.env:1: ")
    assert len(result.errors) == 2
    assert VALUE not in str(result.errors)
