"""A relay fixture real pipes forwards complete messages, also with slow, closed and ended peers."""

import json
import os
import queue
import threading

import pytest

from lessee.mcp import relay as module
from lessee.mcp.relay import Relay
from lessee.mcp.session.actions import ClientClosed, Drained, ServerEvent, ServerResponded, ServerUnusable
from lessee.mcp.session.messages import SERVER_ENDED
from support.programs.sidecar import PATIENCE

HUGE = "x" * 3_000_000


def line(**message):
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


class Peer:
    """The far ends of the pipes of a client or server."""

    def __init__(self, reader, writer):
        self.input, self.output = os.fdopen(reader, "rb", 0), os.fdopen(writer, "wb", 0)
        self.buffered = os.fdopen(os.dup(reader), "rb")

    def receive(self):
        return json.loads(self.buffered.readline())

    def close(self):
        for stream in (self.input, self.output, self.buffered):
            stream.close()


class RelayFixture:
    """A relay with a client and servers that the test controls."""

    def __init__(self, monkeypatch):
        self.descriptors, self.posted, self.ends = [], queue.Queue(), []
        far_ends = []
        for name, ends in (("_STDIN", os.pipe()), ("_STDOUT", os.pipe()[::-1])):
            monkeypatch.setattr(module, name, ends[0])
            self.descriptors.append(ends[0])
            far_ends.append(ends[1])
        self.client = self._register(Peer(far_ends[1], far_ends[0]))
        self.relay = Relay(self.posted.put)

    def server(self):
        pipes = self.relay.pipes()
        server = self._register(Peer(os.dup(pipes.stdin), os.dup(pipes.stdout)))
        self.relay.attach(pipes)
        return server

    def next_event(self):
        return self.posted.get(timeout=PATIENCE)

    def _register(self, ends):
        self.ends.append(ends)
        return ends

    def close(self):
        for ends in self.ends:
            ends.close()
        self.relay.finish()
        for descriptor in self.descriptors:
            os.close(descriptor)


@pytest.fixture
def fixture(monkeypatch):
    made = RelayFixture(monkeypatch)
    yield made
    made.close()


def test_a_message_in_parts_is_forwarded_whole_and_the_first_response_is_reported(fixture):
    server = fixture.server()
    request = line(id=1, method="ping")
    for part in (request[:7], request[7:20], request[20:]):
        fixture.client.output.write(part)
    assert server.buffered.readline() == request
    for part in (b'{"jsonrpc": "2.0", "id": 1,', b' "result": {}}\r\n'):
        server.output.write(part)
    assert fixture.client.receive() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert fixture.next_event() == ServerEvent(1, ServerResponded())
    # Other processes may share these pipes, so their mode must not change.
    assert [os.get_blocking(descriptor) for descriptor in fixture.descriptors] == [True, True]


@pytest.mark.parametrize("slow", ["client", "server"])
def test_a_slow_reader_misses_nothing_and_does_not_block_the_other_direction(fixture, slow):
    server, client = fixture.server(), fixture.client
    here, there = (client, server) if slow == "client" else (server, client)
    messages = [line(method="notifications/message", params={"text": f"{number}{HUGE}"}) for number in range(3)]
    writing = threading.Thread(target=lambda: [there.output.write(part) for part in map(memoryview, messages)])
    writing.start()
    here.output.write(line(method="notifications/other"))
    assert there.receive()["method"] == "notifications/other"
    assert [here.buffered.readline() for _ in messages] == messages
    writing.join(PATIENCE)


def test_the_last_output_of_a_server_is_forwarded_and_pending_requests_fail(fixture):
    server = fixture.server()
    fixture.client.output.write(line(id=1, method="ping") + line(id=2, method="ping"))
    assert [server.receive()["id"] for _ in range(2)] == [1, 2]
    server.output.write(line(id=1, result={}).rstrip())
    server.close()
    fixture.relay.detach()
    assert fixture.client.receive()["result"] == {}
    assert fixture.client.receive()["error"]["code"] == SERVER_ENDED
    second = fixture.server()
    fixture.client.output.write(line(id=3, method="ping"))
    assert second.receive()["id"] == 3


def test_requests_before_a_drain_are_completed_and_then_the_input_is_closed(fixture):
    server = fixture.server()
    fixture.client.output.write(line(id=1, method="ping"))
    assert server.receive()["id"] == 1
    fixture.relay.drain(PATIENCE)
    server.output.write(line(method="notifications/message"))
    assert fixture.client.receive()["method"] == "notifications/message"  # The relay is draining the server now.
    fixture.client.output.write(line(id=2, method="ping"))
    server.output.write(line(id=1, result={}))
    assert [fixture.next_event().event, fixture.next_event().event] == [ServerResponded(), Drained()]
    fixture.relay.close_input()
    assert server.buffered.read() == b""
    fixture.relay.detach()
    assert fixture.server().receive()["id"] == 2


@pytest.mark.parametrize("stream", ["output", "input"])
def test_a_server_that_closes_its_output_or_input_is_unusable(fixture, stream):
    server = fixture.server()
    if stream == "output":
        server.output.close()
    else:
        server.input.close()
        server.buffered.close()
        fixture.client.output.write(line(id=1, method="ping"))
    assert fixture.next_event() == ServerEvent(1, ServerUnusable(f"it closed its {stream}"))


def test_a_closed_client_is_reported_once_and_does_not_block_the_end(fixture):
    server = fixture.server()
    fixture.client.output.write(line(id=1, method="ping"))
    assert server.receive()["id"] == 1
    fixture.client.output.close()
    assert fixture.next_event() == ClientClosed()
    server.output.write(line(id=1, result={"text": HUGE}))
    assert fixture.next_event() == ServerEvent(1, ServerResponded())
    fixture.relay.detach()
    fixture.relay.finish()
    assert fixture.posted.empty()
