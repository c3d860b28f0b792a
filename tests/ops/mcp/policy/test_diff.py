"""The diff of a client's file contains no secret, and no other value of an environment."""

import json

import pytest

from lessee.ops.mcp.policy.diff import diff, lines_with_secrets
from lessee.ops.mcp.policy.editor import LaunchOptions, rewrite
from lessee.ops.mcp.policy.jsonc import parse
from lessee.ops.mcp.policy.plan import plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import find_servers

SERVER = {
    "type": "stdio",
    "command": "x",
    "args": ["-y", "--key", "canary-1", "https://u:canary-2@h"],
    "env": {"A_KEY": "canary-3", "LOG": "canary-4"},
    "more": [{"x": "canary-5"}, 5],
}
UNCHANGED_SERVER = {"command": "x --token=canary-6", "args": [1]}
DETECTOR = SecretDetector()


@pytest.fixture
def before():
    return parse(json.dumps({"mcpServers": {"a": SERVER, "b": UNCHANGED_SERVER}}), "f")


@pytest.fixture
def after(before):
    servers = find_servers(before, "f")
    planned = plan(before, "f", servers, DETECTOR, prefix="mcp/", variable="SERVER", is_available=lambda *_: True)
    return parse(rewrite(before, planned.wrapped, LaunchOptions(("/bin/lessee",), ("--once",), "SERVER")), "f")


def test_the_diff_contains_the_changes_and_no_value(before, after):
    lines = list(diff(find_servers(before, "f"), find_servers(after, "f"), DETECTOR))
    assert "canary" not in "".join(lines)
    assert '-  "command": "x",' in lines
    assert '-    "A_KEY": "***",' in lines
    assert '-    "--key",' in lines
    assert not [line for line in lines if "mcpServers.b" in line]


def test_lines_that_still_contain_a_moved_secret_are_found(before, after):
    assert lines_with_secrets(after, ["canary-3", "canary-1"]) == ()
    assert lines_with_secrets(before, ["canary-3"]) == (1,)
