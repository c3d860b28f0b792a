"""What is a message and what is none, and how messages of ours are written."""

import json

import pytest

from lessee.mcp.session import messages
from lessee.mcp.session.messages import Answer, Notification, Request, read


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ({"id": 1, "method": "ping"}, Request(b"", 1, "ping")),
        ({"id": "a", "method": "ping", "params": {"b": [1]}}, Request(b"", "a", "ping", b'{"b":[1]}')),
        ({"method": "told"}, Notification(b"", "told")),
        ({"id": None, "method": "told", "params": []}, Notification(b"", "told", b"[]")),
        ({"id": 2, "result": {}}, Answer(b"", 2, b"{}")),
        ({"id": None, "error": {}}, Answer(b"", None, error=b"{}")),
    ],
)
def test_each_kind_of_message_is_known(line, found):
    raw = json.dumps({"jsonrpc": "2.0", **line}, separators=(",", ":")).encode()
    [message] = read(raw)
    assert message == type(found)(raw, *[getattr(found, name) for name in found.__struct_fields__[1:]])
    assert read(b" [" + raw + b",\r" + raw + b"]\r") == (message, message)


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
        b'[{"jsonrpc": "2.0", "method": "told"}, 1]',
        b'[{"jsonrpc": "2.0", "method": "told"}, {"jsonrpc": "2.0", "id": 1}]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_known_too(line):
    assert read(line) is None


@pytest.mark.parametrize("params", [b"", b"[]", b"1", b"{}", b'{"token": null}', b'{"token": [1]}', b'{"_meta": 1}'])
def test_what_is_not_named_is_not_there(params):
    assert messages.named(params, "token") is None
    assert messages.meta(params, "token") is None


def test_parts_of_parameters_are_found():
    assert messages.named(b'{"token": "a"}', "token") == "a"
    assert messages.meta(b'{"_meta": {"token": 7}}', "token") == 7
    assert messages.value(b"{") is None


def test_messages_of_ours_are_messages():
    asked = Request(b"", 1, "call", b'{"a": "b", "_meta": {"progressToken": 1, "other": 2}}')
    parts = {"jsonrpc": "2.0", "id": "x", "method": "call"}
    told = json.loads(messages.request_as("x", asked, "y"))
    assert told == {**parts, "params": {"a": "b", "_meta": {"progressToken": "y", "other": 2}}}
    assert json.loads(messages.request_as("x", Request(b"", 1, "call"), None)) == parts
    assert json.loads(messages.answer_as(3, Answer(b"", "x", result=b'{"a":1}')))["result"] == {"a": 1}
    assert json.loads(messages.answer_as(3, Answer(b"", "x", error=b'{"code":1}')))["error"] == {"code": 1}
    assert json.loads(messages.notification("told")) == {"jsonrpc": "2.0", "method": "told"}
    moved = messages.notification_as("requestId", 4, Notification(b"", "gone", b'{"requestId": 9, "reason": "r"}'))
    assert json.loads(moved)["params"] == {"requestId": 4, "reason": "r"}
    assert messages.batch([b"1"]) == b"1"
    assert messages.batch([b"1", b"2"]) == b"[1,2]"


def test_no_parameter_or_result_is_in_a_repr():
    raw = b'{"jsonrpc": "2.0", "id": 1, "method": "call", "params": {"key": "canary"}}'
    assert "canary" not in repr(read(raw))
    assert "canary" not in repr(read(b'{"jsonrpc": "2.0", "id": 1, "result": {"key": "canary"}}'))
