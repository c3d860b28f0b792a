"""Drives the state machine of an MCP session with decoded messages of a client and its servers."""

import json

from lessee.mcp.session.actions import (
    CloseInput,
    Drained,
    Log,
    SendToClient,
    SendToServer,
    ServerResponded,
    ServerUnusable,
)
from lessee.mcp.session.machine import Session

INITIALIZE_RESULT = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}


def line(**message):
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def error_parts(message):
    return message["error"]["code"], message["error"]["message"]


class SessionDriver:
    """Sends messages of both sides, and collects what each side receives."""

    def __init__(self):
        self.session, self.now = Session("n"), 0.0
        self.client, self.server = [], []
        self.closed = self.drained = self.responded = 0
        self.unusable, self.log = [], []

    # Events.

    def send_request(self, identity, method="tools/call", **params):
        self.send(id=identity, method=method, **({"params": params} if params else {}))

    def send_notification(self, method, **params):
        self.send(method=method, params=params)

    def send(self, **message):
        self.send_raw(line(**message))

    def send_raw(self, text):
        self._execute(self.session.from_client(text))

    def server_sends(self, **message):
        self.server_sends_raw(line(**message))

    def server_responds(self, identity, result=None):
        self.server_sends(id=identity, result=result if result is not None else {})

    def server_sends_raw(self, text):
        self._execute(self.session.from_server(text))

    def start_server(self):
        self._execute(self.session.server_started(self.now))

    def end_server(self):
        self._execute(self.session.server_ended())

    def drain(self, within=5.0):
        self._execute(self.session.drain(self.now + within))

    def close_input(self):
        self._execute(self.session.close_input())

    def close_client(self):
        self._execute(self.session.client_closed())

    def finish(self):
        self._execute(self.session.finish())

    def wait(self, seconds):
        self.now += seconds
        self._execute(self.session.tick(self.now))

    def restart_server(self, initialize_result=INITIALIZE_RESULT, *, answered=True):
        """Drain and end the server, and start another; returns what that one receives at its start."""
        self.drain()
        self.close_input()
        self.end_server()
        self.server.clear()
        self.start_server()
        if answered and self.server and self.server[0]["method"] == "initialize":
            self.server_responds(self.server[0]["id"], initialize_result)
        return self.server_received()

    # Received messages.

    def server_received(self):
        """The messages to the server since the last call."""
        found, self.server = self.server, []
        return found

    def client_received(self):
        """The messages to the client since the last call."""
        found, self.client = self.client, []
        return found

    def _execute(self, actions):
        for action in actions:
            match action:
                case SendToClient(text):
                    message = json.loads(text)
                    self.client += message if isinstance(message, list) else [message]
                case SendToServer(text):
                    try:
                        message = json.loads(text)
                    except ValueError:
                        message = text
                    self.server += message if isinstance(message, list) else [message]
                case CloseInput():
                    self.closed += 1
                case Drained():
                    self.drained += 1
                case ServerResponded():
                    self.responded += 1
                case ServerUnusable(reason):
                    self.unusable.append(reason)
                case Log(_, event, fields):
                    self.log.append((event, fields))


def initialized_session(initialize_result=INITIALIZE_RESULT, *, initialized=True):
    """A session that is initialized with its first server."""
    driver = SessionDriver()
    driver.start_server()
    driver.send_request(0, "initialize", protocolVersion="2025-06-18", clientInfo={"name": "c"})
    driver.server_responds(0, initialize_result)
    if initialized:
        driver.send_notification("notifications/initialized")
    driver.server_received()
    driver.client_received()
    return driver
