"""Whatever happens in whatever order: nothing is lost, nothing is answered twice, and nobody hears another's answer."""

from hypothesis import given, settings
from hypothesis import strategies as st

from support.models.mcp_session import HELLO, Talk

IDS = [0, 1, "0", "a", 2.5, 3, 4, 5]
"""Of the servers, and of the client's first requests: they are often the same."""
_WITH_ONE_OF = ("answer", "fail", "cancel", "request", "reply", "withdraw")
_ALONE = ("ask", "subscribe", "listen", "notify", "crash", "drain", "leave", "end", "start", "start", "wait", "noise")
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(_WITH_ONE_OF), st.integers(0, 7)) | st.tuples(st.sampled_from(_ALONE)),
    min_size=15,
    max_size=60,
)


class History:
    """Both sides as they may be, and what they must not see."""

    def __init__(self):
        self.talk = Talk()
        self.server = 0
        """Its number; 0: there is none."""
        self.servers, self.listens = 0, True
        self.asked, self.cancelled, self.answered = [], set(), []
        self.begun, self.with_server = [], {}
        self.of_servers, self.open, self.replied = {}, {}, set()
        self.told, self.count = [], 0
        self.start()
        self.ask("initialize")
        self.answer(0, HELLO)
        self.talk.tells("notifications/initialized")
        self.look()

    def ask(self, method="tools/call"):
        identity = IDS[self.count] if self.count < len(IDS) else self.count
        self.count += 1
        self.asked.append(identity)
        self.talk.asks(identity, method, uri=f"file:///{self.count}")
        self.look()

    def subscribe(self):
        self.ask("resources/subscribe")

    def listen(self):
        self.ask("subscriptions/listen")

    def notify(self):
        self.count += 1
        self.told.append(self.count)
        self.talk.tells("notifications/own", number=self.count)
        self.look()

    def answer(self, which, result=None):
        if self.server and self.with_server:
            identity = list(self.with_server)[which % len(self.with_server)]
            del self.with_server[identity]
            self.talk.answers(identity, result or {"of": identity})
            self.look()

    def fail(self, which):
        if self.server and self.with_server:
            identity = list(self.with_server)[which % len(self.with_server)]
            del self.with_server[identity]
            self.talk.hears(id=identity, error={"code": 1, "message": "no"})
            self.look()

    def cancel(self, which):
        waiting = [identity for identity in self.asked[1:] if identity not in self.answered]
        if waiting:
            identity = waiting[which % len(waiting)]
            self.cancelled.add(identity)
            self.talk.tells("notifications/cancelled", requestId=identity)
            self.look()

    def request(self, which):
        identity = IDS[which]
        if self.server and (self.server, identity) not in self.of_servers:
            self.of_servers[self.server, identity] = None
            params = {"from": self.server, "id": identity, "_meta": {"progressToken": identity}}
            self.talk.hears(id=identity, method="sampling/createMessage", params=params)
            self.look()

    def reply(self, which):
        if self.open:
            ours = list(self.open)[which % len(self.open)]
            server, theirs = self.open.pop(ours)
            self.talk.tells("notifications/progress", progressToken=ours, of=[server, theirs])
            self.talk.says(id=ours, result={"of": [server, theirs]})
            self.look()

    def withdraw(self, which):
        mine = [key for key in self.of_servers if key[0] == self.server]
        if mine:
            self.talk.hears(method="notifications/cancelled", params={"requestId": mine[which % len(mine)][1]})
            self.look()

    def noise(self):
        if self.server:
            self.talk.from_server(b"noise")

    def drain(self):
        if self.server:
            self.talk.drains()
            self.look()

    def wait(self):
        self.talk.waits(10.0)
        self.look()

    def leave(self):
        if self.server and self.talk.drained:
            self.listens = False
            self.talk.leaves()
            self.look()

    def end(self):
        if self.server and not self.listens:
            self.crash()

    def crash(self):
        if self.server:
            self.server = 0
            self.talk.ends()
            self.with_server.clear()
            self.talk.drained = 0
            self.look()

    def start(self):
        if not self.server:
            self.servers += 1
            self.server, self.listens = self.servers, True
            self.talk.starts()
            self.look()

    def look(self):
        """What each side has heard is what it may hear."""
        for message in self.talk.took():
            assert self.server, "nobody is there to hear it"
            assert self.listens, "it hears nothing any more"
            self._server_hears(message)
        for message in self.talk.got():
            self._client_hears(message)

    def _server_hears(self, message):
        if "result" in message:
            assert message["result"]["of"] == [self.server, message["id"]]
            assert (self.server, message["id"]) not in self.replied
            self.replied.add((self.server, message["id"]))
        elif message["method"] == "notifications/progress":
            assert message["params"]["of"] == [self.server, message["params"]["progressToken"]]
        elif message["method"] == "notifications/own":
            assert self.told.pop(0) == message["params"]["number"]
        elif "id" in message:
            assert message["id"] not in self.with_server
            self.with_server[message["id"]] = message["method"]
            if message["id"] in self.asked and message["method"] == "tools/call":
                self.begun.append(message["id"])

    def _client_hears(self, message):
        if "method" not in message:
            assert message["id"] in self.asked
            assert message["id"] not in self.answered
            assert message.get("result", {}).get("of", message["id"]) == message["id"]
            self.answered.append(message["id"])
        elif "id" in message:
            assert message["id"] not in self.open
            self.open[message["id"]] = (message["params"]["from"], message["params"]["id"])
            assert message["params"]["_meta"]["progressToken"] == message["id"]
        elif message["method"] == "notifications/cancelled":
            # Some clients answer nevertheless.
            assert message["params"]["requestId"] in self.open


@given(OPERATIONS, st.booleans())
@settings(max_examples=200)
def test_all_is_answered_once_and_in_order(operations, crashes):
    history = History()
    for name, *words in operations:
        getattr(history, name)(*words)
    if crashes:
        history.crash()
    else:  # all that was asked can be answered, by one server more at most
        history.start()
        while history.with_server:
            history.answer(0)
        history.talk.leaves()
        history.listens = False
        history.crash()
    history.talk.is_over()
    history.look()
    assert set(history.asked) - history.cancelled <= set(history.answered)
    assert history.begun == [identity for identity in history.asked if identity in history.begun]
    assert len(set(history.begun)) == len(history.begun)
    assert history.talk.session.held == 0


@given(OPERATIONS)
def test_who_is_drained_is_told_to_leave_once_and_waits_for_nobody(operations):
    history = History()
    for name, *words in operations:
        getattr(history, name)(*words)
    history.crash()
    history.start()
    history.talk.drained = 0
    history.drain()
    history.talk.waits(1000.0)
    assert history.talk.drained == 1
    history.talk.waits(1000.0)
    assert history.talk.drained == 1
