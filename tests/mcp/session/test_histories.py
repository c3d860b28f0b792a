"""In any order of events, no message is lost, and each request gets exactly one response: its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.models.mcp_session import INITIALIZE_RESULT, SessionDriver

IDS = [0, 1, "0", "a", 2.5, 3, 4, 5]
"""Ids of the servers' requests and of the client's first requests, which often coincide."""
_WITH_INDEX = ("respond", "fail", "cancel", "request", "reply", "withdraw")
_WITHOUT_ARGUMENT = (
    "ask",
    "subscribe",
    "listen",
    "notify",
    "crash",
    "drain",
    "leave",
    "end",
    "start",
    "start",
    "wait",
    "noise",
)
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(_WITH_INDEX), st.integers(0, 7)) | st.tuples(st.sampled_from(_WITHOUT_ARGUMENT)),
    min_size=15,
    max_size=60,
)


class History:
    """Simulates a client and servers, and checks each message that they receive."""

    def __init__(self):
        self.driver = SessionDriver()
        self.server = 0
        """The number of the current server; 0 without a server."""
        self.server_count, self.is_input_open = 0, True
        self.requested, self.cancelled, self.completed = [], set(), []
        self.started, self.at_server = [], {}
        self.server_requests, self.open_requests, self.replied = {}, {}, set()
        self.notified, self.count = [], 0
        self.start()
        self.ask("initialize")
        self.respond(0, INITIALIZE_RESULT)
        self.driver.send_notification("notifications/initialized")
        self.check()

    def ask(self, method="tools/call"):
        identity = IDS[self.count] if self.count < len(IDS) else self.count
        self.count += 1
        self.requested.append(identity)
        self.driver.send_request(identity, method, uri=f"file:///{self.count}")
        self.check()

    def subscribe(self):
        self.ask("resources/subscribe")

    def listen(self):
        self.ask("subscriptions/listen")

    def notify(self):
        self.count += 1
        self.notified.append(self.count)
        self.driver.send_notification("notifications/own", number=self.count)
        self.check()

    def respond(self, which, result=None):
        if self.server and self.at_server:
            identity = list(self.at_server)[which % len(self.at_server)]
            del self.at_server[identity]
            self.driver.server_responds(identity, result or {"of": identity})
            self.check()

    def fail(self, which):
        if self.server and self.at_server:
            identity = list(self.at_server)[which % len(self.at_server)]
            del self.at_server[identity]
            self.driver.server_sends(id=identity, error={"code": 1, "message": "no"})
            self.check()

    def cancel(self, which):
        waiting = [identity for identity in self.requested[1:] if identity not in self.completed]
        if waiting:
            identity = waiting[which % len(waiting)]
            self.cancelled.add(identity)
            self.driver.send_notification("notifications/cancelled", requestId=identity)
            self.check()

    def request(self, which):
        identity = IDS[which]
        if self.server and (self.server, identity) not in self.server_requests:
            self.server_requests[self.server, identity] = None
            params = {"from": self.server, "id": identity, "_meta": {"progressToken": identity}}
            self.driver.server_sends(id=identity, method="sampling/createMessage", params=params)
            self.check()

    def reply(self, which):
        if self.open_requests:
            ours = list(self.open_requests)[which % len(self.open_requests)]
            server, theirs = self.open_requests.pop(ours)
            self.driver.send_notification("notifications/progress", progressToken=ours, of=[server, theirs])
            self.driver.send(id=ours, result={"of": [server, theirs]})
            self.check()

    def withdraw(self, which):
        mine = [key for key in self.server_requests if key[0] == self.server]
        if mine:
            self.driver.server_sends(method="notifications/cancelled", params={"requestId": mine[which % len(mine)][1]})
            self.check()

    def noise(self):
        if self.server:
            self.driver.server_sends_raw(b"noise")

    def drain(self):
        if self.server:
            self.driver.drain()
            self.check()

    def wait(self):
        self.driver.wait(10.0)
        self.check()

    def leave(self):
        if self.server and self.driver.drained:
            self.is_input_open = False
            self.driver.close_input()
            self.check()

    def end(self):
        if self.server and not self.is_input_open:
            self.crash()

    def crash(self):
        if self.server:
            self.server = 0
            self.driver.end_server()
            self.at_server.clear()
            self.driver.drained = 0
            self.check()

    def start(self):
        if not self.server:
            self.server_count += 1
            self.server, self.is_input_open = self.server_count, True
            self.driver.start_server()
            self.check()

    def check(self):
        """Check what each side has received since the last check."""
        for message in self.driver.server_received():
            assert self.server, "there is no server to receive it"
            assert self.is_input_open, "its input is closed"
            self._check_server_message(message)
        for message in self.driver.client_received():
            self._check_client_message(message)

    def _check_server_message(self, message):
        if "result" in message:
            assert message["result"]["of"] == [self.server, message["id"]]
            assert (self.server, message["id"]) not in self.replied
            self.replied.add((self.server, message["id"]))
        elif message["method"] == "notifications/progress":
            assert message["params"]["of"] == [self.server, message["params"]["progressToken"]]
        elif message["method"] == "notifications/own":
            assert self.notified.pop(0) == message["params"]["number"]
        elif "id" in message:
            assert message["id"] not in self.at_server
            self.at_server[message["id"]] = message["method"]
            if message["id"] in self.requested and message["method"] == "tools/call":
                self.started.append(message["id"])

    def _check_client_message(self, message):
        if "method" not in message:
            assert message["id"] in self.requested
            assert message["id"] not in self.completed
            assert message.get("result", {}).get("of", message["id"]) == message["id"]
            self.completed.append(message["id"])
        elif "id" in message:
            assert message["id"] not in self.open_requests
            self.open_requests[message["id"]] = (message["params"]["from"], message["params"]["id"])
            assert message["params"]["_meta"]["progressToken"] == message["id"]
        elif message["method"] == "notifications/cancelled":
            # Some clients respond nevertheless.
            assert message["params"]["requestId"] in self.open_requests


@pytest.mark.long
@given(OPERATIONS, st.booleans())
@settings(max_examples=200)
def test_every_request_gets_one_response_and_order_is_preserved(operations, crashes):
    history = History()
    for name, *words in operations:
        getattr(history, name)(*words)
    if crashes:
        history.crash()
    else:  # at most one more server can respond to all requests
        history.start()
        while history.at_server:
            history.respond(0)
        history.driver.close_input()
        history.is_input_open = False
        history.crash()
    history.driver.finish()
    history.check()
    assert set(history.requested) - history.cancelled <= set(history.completed)
    assert history.started == [identity for identity in history.requested if identity in history.started]
    assert len(set(history.started)) == len(history.started)
    assert history.driver.session.pending_bytes == 0


@given(OPERATIONS)
def test_a_drain_is_reported_exactly_once(operations):
    history = History()
    for name, *words in operations:
        getattr(history, name)(*words)
    history.crash()
    history.start()
    history.driver.drained = 0
    history.drain()
    history.driver.wait(1000.0)
    assert history.driver.drained == 1
    history.driver.wait(1000.0)
    assert history.driver.drained == 1
