"""A client and its servers around the pure machine of a session, with messages as they are read."""

import json

from lessee.mcp.session.actions import CloseInput, Drained, Say, ToClient, ToServer, UnusableError, Works
from lessee.mcp.session.machine import Session

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}


def line(**message):
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def error_of(message):
    return message["error"]["code"], message["error"]["message"]


class Talk:
    """Says for both sides, and keeps what each has heard."""

    def __init__(self):
        self.session, self.now = Session("n"), 0.0
        self.client, self.server = [], []
        self.closed = self.drained = self.works = 0
        self.unusable, self.log = [], []

    # What happens.

    def asks(self, identity, method="tools/call", **params):
        self.says(id=identity, method=method, **({"params": params} if params else {}))

    def tells(self, method, **params):
        self.says(method=method, params=params)

    def says(self, **message):
        self.raw(line(**message))

    def raw(self, raw):
        self._obey(self.session.from_client(raw))

    def hears(self, **message):
        self.from_server(line(**message))

    def answers(self, identity, result=None):
        self.hears(id=identity, result=result if result is not None else {})

    def from_server(self, raw):
        self._obey(self.session.from_server(raw))

    def starts(self):
        self._obey(self.session.server_started(self.now))

    def ends(self):
        self._obey(self.session.server_ended())

    def drains(self, within=5.0):
        self._obey(self.session.drain(self.now + within))

    def leaves(self):
        self._obey(self.session.leave())

    def hangs_up(self):
        self._obey(self.session.client_gone())

    def is_over(self):
        self._obey(self.session.over())

    def waits(self, seconds):
        self.now += seconds
        self._obey(self.session.tick(self.now))

    def another(self, hello=HELLO, *, answered=True):
        """The server is drained, ends, and another is started; what it is told at its start."""
        self.drains()
        self.leaves()
        self.ends()
        self.server.clear()
        self.starts()
        if answered and self.server and self.server[0]["method"] == "initialize":
            self.answers(self.server[0]["id"], hello)
        return self.took()

    # What was heard.

    def took(self):
        """By the server, since it was looked last."""
        found, self.server = self.server, []
        return found

    def got(self):
        """By the client, since it was looked last."""
        found, self.client = self.client, []
        return found

    def _obey(self, actions):
        for action in actions:
            match action:
                case ToClient(raw):
                    told = json.loads(raw)
                    self.client += told if isinstance(told, list) else [told]
                case ToServer(raw):
                    try:
                        told = json.loads(raw)
                    except ValueError:
                        told = raw
                    self.server += told if isinstance(told, list) else [told]
                case CloseInput():
                    self.closed += 1
                case Drained():
                    self.drained += 1
                case Works():
                    self.works += 1
                case UnusableError(why):
                    self.unusable.append(why)
                case Say(_, event, fields):
                    self.log.append((event, fields))


def begun(hello=HELLO, *, initialized=True):
    """A session that has begun, with its first server."""
    talk = Talk()
    talk.starts()
    talk.asks(0, "initialize", protocolVersion="2025-06-18", clientInfo={"name": "c"})
    talk.answers(0, hello)
    if initialized:
        talk.tells("notifications/initialized")
    talk.took()
    talk.got()
    return talk
