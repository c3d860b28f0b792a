"""A relay between real pipes: whole messages pass, whoever is slow, stops listening or ends in the middle of one."""

import json
import os
import queue
import threading

import pytest

from lessee.mcp import relay as module
from lessee.mcp.relay import Relay
from lessee.mcp.session.actions import About, Drained, Gone, UnusableError, Works
from lessee.mcp.session.messages import SERVER_GONE
from support.programs.sidecar import PATIENCE

HUGE = "x" * 3_000_000


def line(**message):
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


class Ends:
    """The far ends of both of somebody's pipes."""

    def __init__(self, hears, says):
        self.hears, self.says = os.fdopen(hears, "rb", 0), os.fdopen(says, "wb", 0)
        self.buffered = os.fdopen(os.dup(hears), "rb")

    def hear(self):
        return json.loads(self.buffered.readline())

    def close(self):
        for stream in (self.hears, self.says, self.buffered):
            stream.close()


class Between:
    """A relay, its client, and servers that the test speaks for."""

    def __init__(self, monkeypatch):
        self.ours, self.posted, self.ends = [], queue.Queue(), []
        theirs = []
        for name, ends in (("_STDIN", os.pipe()), ("_STDOUT", os.pipe()[::-1])):
            monkeypatch.setattr(module, name, ends[0])
            self.ours.append(ends[0])
            theirs.append(ends[1])
        self.client = self._keep(Ends(theirs[1], theirs[0]))
        self.relay = Relay(self.posted.put)

    def server(self):
        pipes = self.relay.pipes()
        server = self._keep(Ends(os.dup(pipes.stdin), os.dup(pipes.stdout)))
        self.relay.attach(pipes)
        return server

    def post(self):
        return self.posted.get(timeout=PATIENCE)

    def _keep(self, ends):
        self.ends.append(ends)
        return ends

    def close(self):
        for ends in self.ends:
            ends.close()
        self.relay.finish()
        for descriptor in self.ours:
            os.close(descriptor)


@pytest.fixture
def between(monkeypatch):
    found = Between(monkeypatch)
    yield found
    found.close()


def test_a_message_that_comes_in_parts_passes_whole_and_the_first_answer_is_told(between):
    server = between.server()
    asked = line(id=1, method="ping")
    for part in (asked[:7], asked[7:20], asked[20:]):
        between.client.says.write(part)
    assert server.buffered.readline() == asked
    for part in (b'{"jsonrpc": "2.0", "id": 1,', b' "result": {}}\r\n'):
        server.says.write(part)
    assert between.client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert between.post() == About(1, Works())
    # Who shares these with us must not find them otherwise.
    assert [os.get_blocking(descriptor) for descriptor in between.ours] == [True, True]


@pytest.mark.parametrize("slow", ["client", "server"])
def test_who_is_slow_to_read_misses_nothing_and_does_not_stop_the_other(between, slow):
    server, client = between.server(), between.client
    here, there = (client, server) if slow == "client" else (server, client)
    messages = [line(method="notifications/message", params={"text": f"{number}{HUGE}"}) for number in range(3)]
    writing = threading.Thread(target=lambda: [there.says.write(part) for part in map(memoryview, messages)])
    writing.start()
    here.says.write(line(method="notifications/other"))
    assert there.hear()["method"] == "notifications/other"
    assert [here.buffered.readline() for _ in messages] == messages
    writing.join(PATIENCE)


def test_the_last_words_of_a_server_are_heard_and_who_waits_is_told_that_it_has_ended(between):
    server = between.server()
    between.client.says.write(line(id=1, method="ping") + line(id=2, method="ping"))
    assert [server.hear()["id"] for _ in range(2)] == [1, 2]
    server.says.write(line(id=1, result={}).rstrip())
    server.close()
    between.relay.detach()
    assert between.client.hear()["result"] == {}
    assert between.client.hear()["error"]["code"] == SERVER_GONE
    again = between.server()
    between.client.says.write(line(id=3, method="ping"))
    assert again.hear()["id"] == 3


def test_what_was_asked_before_the_drain_is_waited_for_and_then_the_input_is_closed(between):
    server = between.server()
    between.client.says.write(line(id=1, method="ping"))
    assert server.hear()["id"] == 1
    between.relay.drain(PATIENCE)
    server.says.write(line(method="notifications/message"))
    assert between.client.hear()["method"] == "notifications/message"  # By now it is being drained.
    between.client.says.write(line(id=2, method="ping"))
    server.says.write(line(id=1, result={}))
    assert [between.post().what, between.post().what] == [Works(), Drained()]
    between.relay.close_input()
    assert server.buffered.read() == b""
    between.relay.detach()
    assert between.server().hear()["id"] == 2


@pytest.mark.parametrize("what", ["output", "input"])
def test_a_server_that_lives_without_its_output_or_its_input_is_of_no_use(between, what):
    server = between.server()
    if what == "output":
        server.says.close()
    else:
        server.hears.close()
        server.buffered.close()
        between.client.says.write(line(id=1, method="ping"))
    assert between.post() == About(1, UnusableError(f"it has closed its {what}"))


def test_a_client_that_is_gone_is_told_of_once_and_one_that_reads_nothing_is_not_waited_for(between):
    server = between.server()
    between.client.says.write(line(id=1, method="ping"))
    assert server.hear()["id"] == 1
    between.client.says.close()
    assert between.post() == Gone()
    server.says.write(line(id=1, result={"text": HUGE}))
    assert between.post() == About(1, Works())
    between.relay.detach()
    between.relay.finish()
    assert between.posted.empty()
