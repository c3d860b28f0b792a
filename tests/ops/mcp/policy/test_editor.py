"""The rewritten file starts wrapped servers with `lessee exec`, and everything else keeps its position and format."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.mcp.policy.editor import LaunchOptions, rewrite
from lessee.ops.mcp.policy.jsonc import parse
from lessee.ops.mcp.policy.plan import plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import find_servers

LAUNCH = LaunchOptions(("/bin/lessee",), ("--once", "--config", "/c"), "SERVER")
ARGS = '"exec", "--once", "--config", "/c", "--app"'


def rewritten(text):
    document = parse(text, "f")
    servers = find_servers(document, "f")
    planned = plan(
        document, "f", servers, SecretDetector(), prefix="mcp/", variable="SERVER", is_available=lambda *_: True
    )
    return rewrite(document, planned.wrapped, LAUNCH), planned


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
    text, planned = rewritten(FORMATTED.replace("\n", end))
    document = parse(text, "f")
    assert [server.app for server in planned.wrapped] == ["a", "b"]
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
    text, planned = rewritten(f'{{"mcpServers": {{"a": {before}}}}}')
    [one] = planned.wrapped
    words = ["exec", "--once", "--config", "/c", "--app", "a", "--", *one.program.argv]
    after = after.replace("@@", "[\n" + ",\n".join(f"  {json.dumps(word)}" for word in words) + "\n  ]")
    after = after.replace("[@]", json.dumps(words))
    assert text == f'{{"mcpServers": {{"a": {after}}}}}'


NAMES = st.sampled_from(["LOG", "A_KEY", "B_TOKEN", "PATH", "C_SECRET", "D"])


@pytest.mark.no_cover
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
    text, planned = rewritten(json.dumps({"mcpServers": servers, "rest": [1]}, indent=indent))
    after = json.loads(text)
    assert after["rest"] == [1]
    for one in planned.wrapped:
        new, old = after["mcpServers"].pop(one.server.name), servers.pop(one.server.name)
        assert new["command"] == "/bin/lessee"
        assert new["args"][6:] == ["--", *one.program.argv]
        env = old.get("env", {})
        assert new["env"] == {"SERVER": one.app} | {name: env[name] for name in env if name not in one.fields}
        assert {name: env[name] for name in one.removed} == {name: one.fields[name] for name in one.removed}
    assert after["mcpServers"] == servers
    assert rewritten(text)[0] == text


def test_an_unpaired_surrogate_in_an_argument_is_unchanged():
    server = {"command": "x", "args": ["\ud800", "é"], "env": {"A_KEY": "c"}}
    text, _ = rewritten(json.dumps({"mcpServers": {"a": server}}))
    assert json.loads(text)["mcpServers"]["a"]["args"][-2:] == ["\ud800", "é"]
    assert text.encode()
