"""The packets between an agent and `lessee issue`."""

import pytest

from lessee.core.issue_messages import MAX_PACKET, Hello, Reply, Request, decode, encode


@pytest.mark.parametrize("message", [Hello("n"), Request("n"), Request("n", "web"), Reply(refused="no"), Reply("s.1")])
def test_a_message_is_what_was_sent(message):
    packet = encode(message)
    assert decode(packet, type(message)) == message
    assert len(packet) < MAX_PACKET


@pytest.mark.parametrize("packet", [b"", b"{", b"[" * 4000, b"[]", b'{"nonce": 1}', b"\xff", b"GET / HTTP/1.1"])
def test_anything_else_is_no_message(packet):
    assert decode(packet, Request) is None


def test_a_reply_does_not_show_its_token():
    assert "s.secret" not in repr(Reply("s.secret"))
