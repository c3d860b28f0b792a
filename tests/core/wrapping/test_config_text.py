"""lessee.yaml is written as people write it, and added to without a change of what is there."""

import pytest
import yaml

from lessee.core.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.core.wrapping.config_text import VARIABLE, App, Vault, added, new, variable

APP = App("one", "/run/x/files/one", "one.env.j2")
KEYS = {"directory": "/run/x/files/one", "environ": "one.env.j2"}


@pytest.mark.parametrize("environment", [None, "testing"])
def test_a_new_file_is_right_and_keeps_the_states_of_servers_apart(environment):
    vault = Vault("https://v:8200", "/home/a b/.vault-token", "team", "/ca.pem")
    text = new(vault, environment, "/run/x/state", [APP])
    config = parse(text, source="f", environ={VARIABLE: "one"}, for_child=True)
    assert (config.vault.address, config.vault.namespace, config.vault.ca_file) == ("https://v:8200", "team", "/ca.pem")
    assert config.secrets.prefix == ("testing/" if environment else "")
    assert config.state == "/run/x/state/one"
    assert config.apps["one"].environ == "one.env.j2"
    assert variable(text, "f") == VARIABLE
    assert "namespace" not in new(Vault("https://v", "/t"), environment, "/s", [APP])


def test_a_server_that_is_started_anew_is_told_by_a_restart():
    config = parse(
        new(Vault("https://v", "/t"), None, "/s", [App("one", "/run/d", "t", restart=True)]),
        source="f",
        environ={},
        for_child=True,
    )
    assert config.apps["one"].notify.action == "restart"


@pytest.mark.parametrize("text", ["apps: {}", "state: /run/x", "state: [a]"])
def test_one_state_for_all_servers_is_refused(text):
    with pytest.raises(ConfigError, match="its servers would have one `state`"):
        variable(text, "f")


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n",
        "a: 1",
        "apps:\n",
        "apps:",
        "apps: # none\nb: 1\n",
        "apps:\n  x: {a: 1}  # y\n\n# end\nb: 1\n",
        "apps:\n      x:\n        files: [\n  a]\n",
        "b: 1\napps:\n x:\n  files:\n  - a: 1\n  - b: |\n      text\n\nc: 1\n",
        "apps:\n  x:\n    files:\n    - 1",
        "apps:\n  x: {}\r\nb: 1\r\n",
    ],
)
def test_an_app_is_added_and_nothing_else_changes(text):
    after = added(text, "f", [APP, App("two", "/d", "t")])
    before = yaml.safe_load(text)
    apps = before.get("apps") or {}
    assert yaml.safe_load(after) == before | {"apps": apps | {"one": KEYS, "two": {"directory": "/d", "environ": "t"}}}
    for line in text.split("\n"):
        assert line in after.split("\n")


@pytest.mark.parametrize("text", ["{apps: }", "apps: {a: {}}", "apps: [a]"])
def test_what_stands_in_braces_is_refused(text):
    with pytest.raises(ConfigError, match="its apps stand in braces; write each on lines of its own"):
        added(text, "f", [APP])
