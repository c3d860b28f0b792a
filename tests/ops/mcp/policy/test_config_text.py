"""lessee.yaml is written as people write it, and added to without a change of what is there."""

import pytest
import yaml

from lessee.config import SESSION
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.config_text import VARIABLE, App, Vault, added, new, refuse_one_session, variable

APP = App("one", "/run/x/files/one", "one.env.j2")
KEYS = {"directory": "/run/x/files/one/${LESSEE_SESSION:-1}", "environ": "one.env.j2"}


@pytest.mark.parametrize("environment", [None, "testing"])
def test_a_new_file_is_right_and_keeps_the_states_of_servers_apart(environment):
    vault = Vault("https://v:8200", "/home/a b/.vault-token", "team", "/ca.pem")
    text = new(vault, environment, "/run/x/state", [APP])
    config = parse(text, source="f", environ={VARIABLE: "one"}, for_child=True)
    assert (config.vault.address, config.vault.namespace, config.vault.ca_file) == ("https://v:8200", "team", "/ca.pem")
    assert config.secrets.prefix == ("testing/" if environment else "")
    assert (config.state, config.apps["one"].directory) == ("/run/x/state/one/1", "/run/x/files/one/1")
    second = parse(text, source="f", environ={VARIABLE: "one", SESSION: "2"}, for_child=True)
    assert (second.state, second.apps["one"].directory) == ("/run/x/state/one/2", "/run/x/files/one/2")
    assert config.apps["one"].environ == "one.env.j2"
    assert variable(text, "f") == VARIABLE
    refuse_one_session(text, "f")
    assert "namespace" not in new(Vault("https://v", "/t"), environment, "/s", [APP])


def test_a_server_that_is_started_anew_is_told_by_a_restart():
    config = parse(
        new(Vault("https://v", "/t"), None, "/s", [App("one", "/run/d", "t", restart=True)]),
        source="f",
        environ={},
        for_child=True,
    )
    assert config.apps["one"].notify.action == "restart"


def test_one_state_for_all_sessions_is_refused_and_a_sessions_number_is_no_name_of_a_server():
    with pytest.raises(ConfigError, match="two clients that start the same server would have one `state`"):
        refuse_one_session("state: /run/x/${SERVER:-none}", "f")
    assert variable("state: /run/${LESSEE_SESSION:-1}/${SERVER:-none}", "f") == "SERVER"


@pytest.mark.parametrize("text", ["apps: {}", "state: /run/x", "state: [a]", "state: '/run/x/${LESSEE_SESSION:-1}'"])
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
    two = {"directory": "/d/${LESSEE_SESSION:-1}", "environ": "t"}
    after = added(text, "f", [APP, App("two", "/d", "t")])
    before = yaml.safe_load(text)
    apps = before.get("apps") or {}
    assert yaml.safe_load(after) == before | {"apps": apps | {"one": KEYS, "two": two}}
    for line in text.split("\n"):
        assert line in after.split("\n")


@pytest.mark.parametrize("text", ["{apps: }", "apps: {a: {}}", "apps: [a]"])
def test_what_stands_in_braces_is_refused(text):
    with pytest.raises(ConfigError, match="its apps stand in braces; write each on lines of its own"):
        added(text, "f", [APP])
