"""JSON-RPC messages are parsed and built, and other lines are rejected."""

import json

import pytest

from lessee.mcp.session import messages
from lessee.mcp.session.messages import Notification, Request, Response, parse


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ({"id": 1, "method": "ping"}, Request(b"", 1, "ping")),
        ({"id": "a", "method": "ping", "params": {"b": [1]}}, Request(b"", "a", "ping", b'{"b":[1]}')),
        ({"method": "changed"}, Notification(b"", "changed")),
        ({"id": None, "method": "changed", "params": []}, Notification(b"", "changed", b"[]")),
        ({"id": 2, "result": {}}, Response(b"", 2, b"{}")),
        ({"id": None, "error": {}}, Response(b"", None, error=b"{}")),
    ],
)
def test_each_kind_of_message_is_parsed(line, found):
    raw = json.dumps({"jsonrpc": "2.0", **line}, separators=(",", ":")).encode()
    [message] = parse(raw)
    assert message == type(found)(raw, *[getattr(found, name) for name in found.__struct_fields__[1:]])
    assert parse(b" [" + raw + b",\r" + raw + b"]\r") == (message, message)


@pytest.mark.parametrize(
    "line",
    [
        b"Server running on stdio",
        b"42",
        b"[]",
        b"[1]",
        b'{"level": "info", "msg": "up"}',
        b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0"}',
        b'{"jsonrpc": "2.0", "id": true, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1e999, "method": "ping"}',
        b'{"jsonrpc": "2.0", "method": "ping", "params": {',
        b'{"jsonrpc": "2.0", "method": "\xff"}',
        b'[{"jsonrpc": "2.0", "method": "changed"}, 1]',
        b'[{"jsonrpc": "2.0", "method": "changed"}, {"jsonrpc": "2.0", "id": 1}]',
        b"[" * 100_000,
    ],
)
def test_other_lines_are_rejected(line):
    assert parse(line) is None


@pytest.mark.parametrize("params", [b"", b"[]", b"1", b"{}", b'{"token": null}', b'{"token": [1]}', b'{"_meta": 1}'])
def test_a_missing_parameter_is_none(params):
    assert messages.param_id(params, "token") is None
    assert messages.meta_id(params, "token") is None


def test_ids_in_parameters_are_found():
    assert messages.param_id(b'{"token": "a"}', "token") == "a"
    assert messages.meta_id(b'{"_meta": {"token": 7}}', "token") == 7
    assert messages.decode(b"{") is None


def test_messages_are_built():
    original = Request(b"", 1, "call", b'{"a": "b", "_meta": {"progressToken": 1, "other": 2}}')
    parts = {"jsonrpc": "2.0", "id": "x", "method": "call"}
    request = json.loads(messages.request_with_id("x", original, "y"))
    assert request == {**parts, "params": {"a": "b", "_meta": {"progressToken": "y", "other": 2}}}
    assert json.loads(messages.request_with_id("x", Request(b"", 1, "call"), None)) == parts
    assert json.loads(messages.response_with_id(3, Response(b"", "x", result=b'{"a":1}')))["result"] == {"a": 1}
    assert json.loads(messages.response_with_id(3, Response(b"", "x", error=b'{"code":1}')))["error"] == {"code": 1}
    assert json.loads(messages.build_notification("changed")) == {"jsonrpc": "2.0", "method": "changed"}
    moved = messages.notification_with(
        "requestId", 4, Notification(b"", "cancelled", b'{"requestId": 9, "reason": "r"}')
    )
    assert json.loads(moved)["params"] == {"requestId": 4, "reason": "r"}
    assert messages.build_batch([b"1"]) == b"1"
    assert messages.build_batch([b"1", b"2"]) == b"[1,2]"


def test_a_repr_contains_no_parameter_or_result():
    raw = b'{"jsonrpc": "2.0", "id": 1, "method": "call", "params": {"key": "canary"}}'
    assert "canary" not in repr(parse(raw))
    assert "canary" not in repr(parse(b'{"jsonrpc": "2.0", "id": 1, "result": {"key": "canary"}}'))
