"""The plan and the rewritten file: servers are wrapped, the rest is unchanged, and manual steps are reported."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.diff import diff, lines_with_secrets
from lessee.ops.mcp.policy.editor import LaunchOptions, rewrite
from lessee.ops.mcp.policy.jsonc import parse
from lessee.ops.mcp.policy.plan import plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import find_servers

LAUNCH = LaunchOptions(("/bin/lessee",), ("--once", "--config", "/c"), "SERVER")
DETECTOR = SecretDetector()
ARGS = '"exec", "--once", "--config", "/c", "--app"'


def make_plan(text, *, is_available=lambda _app, _template: True, variable="SERVER"):
    document = parse(text, "f")
    servers = find_servers(document, "f")
    return document, plan(document, "f", servers, DETECTOR, prefix="mcp/", variable=variable, is_available=is_available)


def rewritten(text, launch=LAUNCH):
    document, made = make_plan(text)
    return rewrite(document, made.wrapped, launch), made


def plan_one(server, **settings):
    return make_plan(json.dumps({"mcpServers": {"a": server}}), **settings)[1]


def steps(made):
    return [str(step) for step in made.manual_steps]


FORMATTED = """\
{
    // of mine
    "servers": {
        "a": {
            "type": "stdio",
            "args": [
                "-x" // why
            ],
            "command": "x",  /* unchanged */
            "env": {
                "LOG": "info", // unchanged
                "A_KEY": "canary-1",

                // also unchanged
                "B_KEY": "canary-2", "C_KEY": "canary-3"
            },
        },
        "b": { "command": "y", "env": { "LOG": "1", "A_KEY": "canary-4", "B_KEY": "canary-5" } }
    }
}
"""
REWRITTEN = """\
{
    // of mine
    "servers": {
        "a": {
            "type": "stdio",
            "args": [
                "exec",
                "--once",
                "--config",
                "/c",
                "--app",
                "a",
                "--",
                "x",
                "-x"
            ],
            "command": "/bin/lessee",  /* unchanged */
            "env": {
                "LOG": "info", // unchanged
                "SERVER": "a"

                // also unchanged
            },
        },
        "b": { "command": "/bin/lessee", "args": [@, "b", "--", "y"], "env": { "LOG": "1", "SERVER": "b" } }
    }
}
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_unchanged_parts_keep_their_position_and_format(end):
    text, made = rewritten(FORMATTED.replace("\n", end))
    document = parse(text, "f")
    assert [server.app for server in made.wrapped] == ["a", "b"]
    expected = parse(REWRITTEN.replace("@", ARGS), "f")
    assert json.loads(without_comments(document)) == json.loads(without_comments(expected))
    for comment in ("// of mine", "/* unchanged */", '"LOG": "info", // unchanged', "// also unchanged"):
        assert comment in text
    assert "canary" not in text
    assert text.count("\n") == text.count(end)


def without_comments(document):
    text = document.text
    for start, end in reversed(document.comments):
        text = text[:start] + text[end:]
    return text.replace(",\n        }", "\n        }").replace(",\r\n        }", "\r\n        }")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"command": "x", "env": {"A_KEY": "c"}}', '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a"}}'),
        (
            '{"command": "x", "args": [], "env": {"A_KEY": "c",}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a",}}',
        ),
        (
            '{"command": "x", "args": ["--key", "c"], "env": {}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a"}}',
        ),
        (
            '{"command": "x", "args": ["--key", "c"], "env": {"LOG": "1"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a", "LOG": "1"}}',
        ),
        (
            '{"command": "x", "args": ["--key", "c"], "env": {\n"LOG": "1"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {\n"SERVER": "a",\n"LOG": "1"}}',
        ),
        (
            '{\n "command": "x", "args": ["--key", "c"]}',
            '{\n "command": "/bin/lessee",\n "env": {"SERVER": "a"}, "args": [@]}',
        ),
        (
            '{"command": "x", "env": {"A_KEY": "c", "B": "1", "C_KEY": "c"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a", "B": "1"}}',
        ),
        (
            '{"command": "x", "env": {"A_KEY": "c",\n  "C_KEY": "c", // d\n  "B": "1"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a",\n  // d\n  "B": "1"}}',
        ),
        (
            '{"command": "x", "args": [\n  "-y"], "env": {"A_KEY": "c"}}',
            '{"command": "/bin/lessee", "args": @@, "env": {"SERVER": "a"}}',
        ),
    ],
)
def test_each_server_is_rewritten_in_its_own_format(before, after):
    text, made = rewritten(f'{{"mcpServers": {{"a": {before}}}}}')
    [one] = made.wrapped
    words = ["exec", "--once", "--config", "/c", "--app", "a", "--", *one.program.argv]
    after = after.replace("@@", "[\n" + ",\n".join(f"  {json.dumps(word)}" for word in words) + "\n  ]")
    after = after.replace("[@]", json.dumps(words))
    assert text == f'{{"mcpServers": {{"a": {after}}}}}'


NAMES = st.sampled_from(["LOG", "A_KEY", "B_TOKEN", "PATH", "C_SECRET", "D"])


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.fixed_dictionaries(
            {"command": st.just("x")},
            optional={
                "args": st.lists(st.sampled_from(["-y", "--api-key=canary-0", "é"]), max_size=3),
                "env": st.dictionaries(NAMES, st.sampled_from(["canary-1", "canary-2"]), max_size=6),
                "type": st.just("stdio"),
            },
        ),
    ),
    st.sampled_from([None, 0, 3]),
)
def test_only_secrets_change_in_any_servers(servers, indent):
    text, made = rewritten(json.dumps({"mcpServers": servers, "rest": [1]}, indent=indent))
    after = json.loads(text)
    assert after["rest"] == [1]
    for one in made.wrapped:
        new, old = after["mcpServers"].pop(one.server.name), servers.pop(one.server.name)
        assert new["command"] == "/bin/lessee"
        assert new["args"][6:] == [*(["--"]), *one.program.argv]
        env = old.get("env", {})
        assert new["env"] == {"SERVER": one.app} | {name: env[name] for name in env if name not in one.fields}
        assert {name: env[name] for name in one.removed} == {name: one.fields[name] for name in one.removed}
    assert after["mcpServers"] == servers
    assert rewritten(text)[0] == text


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


def test_servers_of_the_same_name_share_an_app_only_if_they_are_equal():
    def project(value):
        return {"mcpServers": {"a/b": {"command": "x", "env": {"A_KEY": value}}}}

    text = json.dumps({"projects": {"/1": project("c"), "/2": project("c"), "/3": project("d"), "/4": 1, "/5": {}}})
    _, made = make_plan(text)
    assert [server.app for server in made.wrapped] == ["a-b", "a-b", "a-b-2"]
    assert made.wrapped[0].server.path == "projects['/1'].mcpServers.a/b"
    _, made = make_plan(text, is_available=lambda app, _: app not in {"a-b", "a-b-2"})
    assert [server.app for server in made.wrapped] == ["a-b-3", "a-b-3", "a-b-4"]


def test_control_characters_in_names_are_not_printed():
    text = json.dumps({"mcpServers": {"\x1b[2J": {"command": "x", "env": {"A\x1b_KEY": "c"}, "args": ["\ud800"]}}})
    _, made = make_plan(text)
    assert steps(made) == ["f:1: mcpServers.?[2J: A?_KEY is not a valid name of an environment variable; correct it"]


def test_an_unpaired_surrogate_in_an_argument_is_unchanged():
    server = {"command": "x", "args": ["\ud800", "é"], "env": {"A_KEY": "c"}}
    text, _ = rewritten(json.dumps({"mcpServers": {"a": server}}))
    assert json.loads(text)["mcpServers"]["a"]["args"][-2:] == ["\ud800", "é"]
    assert text.encode()


def test_a_server_name_without_a_letter_gets_a_default_app_name():
    [one] = make_plan('{"mcp": {"servers": {"{é}": {"command": "x", "env": {"A_KEY": "c"}}}}}')[1].wrapped
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
    made = plan_one(server)
    assert (made.wrapped, made.manual_steps) == ((), ())
    assert [(unchanged.name, why) for unchanged, why in made.unchanged] == [("a", reason)]


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
        ({"command": "x", "env": {"A_KEY": "canary-${X}"}}, "A_KEY contains both a secret and a reference"),
        ({"command": "x", "env": {"A_KEY": "canary\0"}}, "A_KEY contains NUL or an unpaired surrogate"),
        ({"command": "x", "env": {"A-KEY": "canary"}}, "A-KEY is not a valid name"),
        ({"command": "x", "args": ["--key", "canary\ud800"]}, "a secret in `args` contains NUL"),
        ({"command": "bash", "args": ["-c", "A_KEY=canary x"]}, "a shell script in `args` contains a secret"),
        ({"command": "x", "env": {"A_KEY": "c", "SERVER": "x"}}, "its `env` has SERVER, the variable"),
    ],
)
def test_a_manual_step_has_its_location_and_not_the_value(server, error):
    made = plan_one(server)
    assert (made.wrapped, made.unchanged) == ((), ())
    [step] = steps(made)
    assert step.startswith(f"f:1: mcpServers.a: {error}")
    assert "canary" not in step


def test_a_variable_of_the_agent_moves_to_the_template():
    made = plan_one({"command": "x", "env": {"A_KEY": "c", "LESSEE_SERVER": "x"}}, variable="LESSEE_SERVER")
    assert made.wrapped[0].removed == {"A_KEY", "LESSEE_SERVER"}


def test_inputs_and_comments_are_checked_too():
    text = """{"servers": {}, "inputs": [{"id": "k", "default": "Bearer canary-1234", "description": "a"}],
    // "A_KEY":"canary-1",
    /* the token: see the wiki */
    }"""
    expected = [
        "f:1: inputs: the default of an input is a secret; remove it",
        "f:2: a comment contains a secret; remove it",
    ]
    assert steps(make_plan(text)[1]) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "f: the file has neither `mcpServers` nor `servers`; pass an mcp.json"),
        ('{"mcp": {}, "projects": 1}', "f: the file has neither"),
        ('{"mcpServers": 1}', "f:1: mcpServers: expected an object"),
        ('{"mcpServers": {"a": 1}}', "f:1: mcpServers.a: expected an object"),
    ],
)
def test_a_file_without_servers_is_rejected(text, error):
    with pytest.raises(ConfigError) as caught:
        find_servers(parse(text, "f"), "f")
    assert str(caught.value).startswith(error)


def test_the_diff_shows_the_changes_and_no_value():
    server = {
        "type": "stdio",
        "command": "x",
        "args": ["-y", "--key", "canary-1", "https://u:canary-2@h"],
        "env": {"A_KEY": "canary-3", "LOG": "canary-4"},
        "more": [{"x": "canary-5"}, 5],
    }
    text = json.dumps({"mcpServers": {"a": server, "b": {"command": "x --token=canary-6", "args": [1]}}})
    document, made = make_plan(text)
    after = parse(rewrite(document, made.wrapped, LAUNCH), "f")
    shown = list(diff(find_servers(document, "f"), find_servers(after, "f"), DETECTOR))
    assert "canary" not in "".join(shown)
    assert '-  "command": "x",' in shown
    assert '-    "A_KEY": "***",' in shown
    assert not [line for line in shown if "mcpServers.b" in line]
    assert lines_with_secrets(after, ["canary-3", "canary-1"]) == ()
    assert lines_with_secrets(document, ["canary-3"]) == (1,)
