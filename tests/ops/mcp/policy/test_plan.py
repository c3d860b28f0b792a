"""The plan wraps each server with a secret, and reports what remains unchanged or needs a manual step."""

import json

import pytest

from lessee.ops.mcp.policy.jsonc import parse
from lessee.ops.mcp.policy.plan import plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import find_servers


def make_plan(text, *, is_available=lambda _app, _template: True, variable="SERVER"):
    document = parse(text, "f")
    servers = find_servers(document, "f")
    return plan(document, "f", servers, SecretDetector(), prefix="mcp/", variable=variable, is_available=is_available)


def plan_one(server, **settings):
    return make_plan(json.dumps({"mcpServers": {"a": server}}), **settings)


def steps(planned):
    return [str(step) for step in planned.manual_steps]


def test_the_template_renders_the_removed_variables():
    env = {"A_KEY": "canary-1", "b_key": "canary-2", "VAULT_ADDR": "http://v", "LOG": "x", "N": 1}
    [one] = plan_one({"command": "x", "args": [], "env": env}).wrapped
    assert one.fields == {"A_KEY": "canary-1", "b_key": "canary-2", "VAULT_ADDR": "http://v"}
    assert one.template == (
        "# The environment of the MCP server a.\n"
        'A_KEY={{ secret("mcp/a").A_KEY }}\n'
        'VAULT_ADDR={{ secret("mcp/a").VAULT_ADDR }}\n'
        'b_key={{ secret("mcp/a")["b_key"] }}\n'
    )
    assert "canary" not in repr(one)


@pytest.mark.parametrize("value", ["${VAULT_TOKEN}", "${env:VAULT_TOKEN}", "$VAULT_TOKEN", "$TOKEN"])
def test_a_reference_in_a_variable_of_vault_is_a_manual_step_and_no_value(value):
    planned = plan_one({"command": "x", "env": {"A_KEY": "canary-1", "VAULT_TOKEN": value}})
    assert not planned.wrapped
    assert ["its `env` has VAULT_TOKEN, a reference" in step for step in steps(planned)] == [True]


def test_servers_of_the_same_name_share_an_app_only_if_they_are_equal():
    def project(value):
        return {"mcpServers": {"a/b": {"command": "x", "env": {"A_KEY": value}}}}

    text = json.dumps({"projects": {"/1": project("c"), "/2": project("c"), "/3": project("d"), "/4": 1, "/5": {}}})
    planned = make_plan(text)
    assert [server.app for server in planned.wrapped] == ["a-b", "a-b", "a-b-2"]
    assert planned.wrapped[0].server.path == "projects['/1'].mcpServers.a/b"
    planned = make_plan(text, is_available=lambda app, _: app not in {"a-b", "a-b-2"})
    assert [server.app for server in planned.wrapped] == ["a-b-3", "a-b-3", "a-b-4"]


def test_control_characters_in_names_are_not_printed():
    text = json.dumps({"mcpServers": {"\x1b[2J": {"command": "x", "env": {"A\x1b_KEY": "c"}, "args": ["\ud800"]}}})
    planned = make_plan(text)
    assert steps(planned) == ["f:1: mcpServers.?[2J: A?_KEY is not a valid name of an environment variable; correct it"]


def test_a_server_name_without_a_letter_gets_a_default_app_name():
    [one] = make_plan('{"mcp": {"servers": {"{é}": {"command": "x", "env": {"A_KEY": "c"}}}}}').wrapped
    assert (one.app, one.server.path) == ("server", "mcp.servers.{é}")
    assert one.template.startswith("# The environment of the MCP server ?é?.\n")


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "x", "args": ["-y"], "env": {"LOG": "x", "A_KEY": "${A}"}}, "contains no secret"),
        ({"command": "/usr/bin/lessee", "args": ["exec", "--", "x"]}, "already wrapped"),
        ({"command": "python3", "args": ["-m", "lessee", "exec", "--", "x"]}, "already wrapped"),
        ({"type": "http", "url": "https://h", "headers": {"A-Key": "${A}"}}, "reached by HTTP"),
        ({"command": ""}, "no command that a client can start"),
        ({"command": "x", "env": None}, "no command that a client can start"),
        ({"command": "x", "args": "y"}, "no command that a client can start"),
        ({"command": "x", "args": [1]}, "no command that a client can start"),
        ({}, "no command that a client can start"),
    ],
)
def test_an_unchanged_server_has_a_reason(server, reason):
    planned = plan_one(server)
    assert (planned.wrapped, planned.manual_steps) == ((), ())
    assert [(unchanged.name, why) for unchanged, why in planned.unchanged] == [("a", reason)]


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (
            {"url": "https://h", "headers": {"Authorization": "Bearer canary"}},
            "`Authorization` contains a secret; write",
        ),
        ({"httpUrl": "https://h?token=canary"}, "`httpUrl` contains a secret; write"),
        ({"url": "https://h", "oauth": {"clientSecret": "canary"}}, "`clientSecret` contains a secret; write"),
        (
            {"command": "x", "headers": [{"A-Key": "canary"}]},
            "`A-Key` contains a secret; move it to the server's `env`",
        ),
        ({"command": "lessee", "args": ["exec"], "env": {"A_KEY": "c"}}, "`A_KEY` contains a secret; move it to Vault"),
        ({"command": "lessee", "args": ["exec", "--k-token=c"]}, "`args` contains a secret; move it to Vault"),
        (
            {"command": "x", "env": {"A_KEY": "canary-${X}"}},
            (
                "A_KEY contains both a secret and a reference that the client replaces; "
                "write the whole value as a reference, or without references"
            ),
        ),
        ({"command": "x", "env": {"A_KEY": "canary\0"}}, "A_KEY contains NUL or an unpaired surrogate"),
        ({"command": "x", "env": {"A-KEY": "canary"}}, "A-KEY is not a valid name"),
        ({"command": "x", "args": ["--key", "canary\ud800"]}, "a secret in `args` contains NUL"),
        ({"command": "bash", "args": ["-c", "A_KEY=canary x"]}, "a shell script in `args` contains a secret"),
        ({"command": "x", "env": {"A_KEY": "c", "SERVER": "x"}}, "its `env` has SERVER, the variable"),
    ],
)
def test_a_manual_step_has_its_location_and_not_the_value(server, error):
    planned = plan_one(server)
    assert (planned.wrapped, planned.unchanged) == ((), ())
    [step] = steps(planned)
    assert step.startswith(f"f:1: mcpServers.a: {error}")
    assert "canary" not in step


def test_a_variable_of_the_agent_moves_to_the_template():
    planned = plan_one({"command": "x", "env": {"A_KEY": "c", "LESSEE_SERVER": "x"}}, variable="LESSEE_SERVER")
    assert planned.wrapped[0].removed == {"A_KEY", "LESSEE_SERVER"}


def test_inputs_and_comments_are_checked_too():
    text = """{"servers": {}, "inputs": [{"id": "k", "default": "Bearer canary-1234", "description": "a"}],
    // "A_KEY":"canary-1",
    /* the token: see the wiki */
    }"""
    expected = [
        "f:1: inputs: the default of an input is a secret; remove it",
        "f:2: a comment contains a secret; remove it",
    ]
    assert steps(make_plan(text)) == expected
