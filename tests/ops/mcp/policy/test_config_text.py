"""A new lessee.yaml for MCP servers, and apps that are added to an existing one."""

import pytest
import yaml

from lessee.config import SESSION
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.config_text import (
    VARIABLE,
    App,
    VaultAccess,
    add_apps,
    check_sessions,
    new_config,
    server_variable,
)

APP = App("one", "/run/x/files/one", "one.env.j2")
KEYS = {"directory": "/run/x/files/one/${LESSEE_SESSION:-1}", "env_template": "one.env.j2"}


@pytest.mark.parametrize("environment", [None, "testing"])
def test_a_new_file_is_valid_and_separates_the_states_of_servers(environment):
    vault = VaultAccess("https://v:8200", "/home/a b/.vault-token", "team", "/ca.pem")
    text = new_config(vault, environment, "/run/x/state", [APP])
    config = parse(text, source="f", environ={VARIABLE: "one"}, for_child=True)
    assert (config.vault.address, config.vault.namespace, config.vault.ca_file) == ("https://v:8200", "team", "/ca.pem")
    assert config.secrets.prefix == ("testing/" if environment else "")
    assert (config.state_dir, config.apps["one"].directory) == ("/run/x/state/one/1", "/run/x/files/one/1")
    second = parse(text, source="f", environ={VARIABLE: "one", SESSION: "2"}, for_child=True)
    assert (second.state_dir, second.apps["one"].directory) == ("/run/x/state/one/2", "/run/x/files/one/2")
    assert config.apps["one"].env_template == "one.env.j2"
    assert server_variable(text, "f") == VARIABLE
    check_sessions(text, "f")
    assert "namespace" not in new_config(VaultAccess("https://v", "/t"), environment, "/s", [APP])


def test_a_server_that_respawns_is_notified_by_a_restart():
    config = parse(
        new_config(VaultAccess("https://v", "/t"), None, "/s", [App("one", "/run/d", "t", restart=True)]),
        source="f",
        environ={},
        for_child=True,
    )
    assert config.apps["one"].notify.action == "restart"


def test_a_state_dir_without_the_session_is_rejected_and_the_session_is_not_the_server_variable():
    with pytest.raises(ConfigError, match="two clients that start the same server would share one `state_dir`"):
        check_sessions("state_dir: /run/x/${SERVER:-none}", "f")
    assert server_variable("state_dir: /run/${LESSEE_SESSION:-1}/${SERVER:-none}", "f") == "SERVER"


@pytest.mark.parametrize(
    "text", ["apps: {}", "state_dir: /run/x", "state_dir: [a]", "state_dir: '/run/x/${LESSEE_SESSION:-1}'"]
)
def test_a_state_dir_that_all_servers_share_is_rejected(text):
    with pytest.raises(ConfigError, match="all servers would share one `state_dir`"):
        server_variable(text, "f")


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
def test_adding_an_app_changes_nothing_else(text):
    two = {"directory": "/d/${LESSEE_SESSION:-1}", "env_template": "t"}
    after = add_apps(text, "f", [APP, App("two", "/d", "t")])
    before = yaml.safe_load(text)
    apps = before.get("apps") or {}
    assert yaml.safe_load(after) == before | {"apps": apps | {"one": KEYS, "two": two}}
    for line in text.split("\n"):
        assert line in after.split("\n")


@pytest.mark.parametrize("text", ["{apps: }", "apps: {a: {}}", "apps: [a]"])
def test_apps_in_braces_or_brackets_are_rejected(text):
    with pytest.raises(ConfigError, match="`apps` is written in braces or brackets; write each app on its own lines"):
        add_apps(text, "f", [APP])
