"""The state machine of one client's session with a sequence of servers; the client sees only one server."""

from enum import Enum, auto
from typing import assert_never

from lessee.core.immutable import ImmutableStruct
from lessee.mcp.session.actions import (
    Action,
    CloseInput,
    Drained,
    Log,
    SendToClient,
    SendToServer,
    ServerResponded,
    ServerUnusable,
)
from lessee.mcp.session.line_splitter import MAX_LINE
from lessee.mcp.session.messages import (
    CANCELLED,
    INITIALIZED,
    PARSE_ERROR,
    PROGRESS,
    SERVER_ENDED,
    Id,
    Message,
    Notification,
    Request,
    Response,
    build_batch,
    build_error,
    param_id,
    parse,
)
from lessee.mcp.session.pending_messages import PendingMessages
from lessee.mcp.session.replay import Replay, error_message
from lessee.mcp.session.server_requests import ServerRequests
from lessee.mcp.session.session_state import SessionState
from lessee.mcp.session.subscriptions import Subscriptions

INITIALIZE_TIMEOUT = 60.0
"""Seconds in which a new server must respond to `initialize`."""
_REPEATED_METHODS = frozenset({"initialize", "server/discover"})
"""Requests that start a session; they are repeated to the next server if one ends before its response."""
_ENDED = "the server ended during this request and was restarted; the request may or may not have been executed"
_TIMED_OUT = "the server was restarted for new secrets before this request was complete; it may have been executed"
_FINISHED = "the server has ended and is not restarted; its log has the reason"


class _Phase(Enum):
    NO_SERVER = auto()
    INITIALIZING = auto()
    """A new server gets the state of the session."""
    OPEN = auto()
    DRAINING = auto()
    """Pending requests are completed; new ones wait for the next server."""
    CLOSING = auto()
    """The server's input is closed, but it may still respond."""


class _PendingRequest(ImmutableStruct, frozen=True):
    """A request that the server has received and not responded to."""

    request: Request
    cancelled: bool = False


class Session:
    """Turns events into actions. It has no clock: `now` is in seconds on any monotonic clock."""

    def __init__(self, nonce: str) -> None:
        """`nonce` makes the relay's own ids unique."""
        self._nonce = nonce
        self._count = 0
        self._phase = _Phase.NO_SERVER
        self._state = SessionState()
        self._replay = Replay(self._state, self._new_id)
        self._server_requests = ServerRequests(self._new_id)
        self._subscriptions = Subscriptions()
        self._pending_requests: dict[Id, _PendingRequest] = {}
        self._pending_messages = PendingMessages()
        self._deadline = float("inf")
        self._has_responded = False
        self._is_client_closed = False
        self._actions: list[Action] = []

    @property
    def wake_at(self) -> float:
        """When `tick` has something to do."""
        return self._deadline

    @property
    def pending_bytes(self) -> int:
        """Bytes of the messages that wait for a server, including an overhead for each."""
        return self._pending_messages.size

    # Events; each returns the actions to take, in order.

    def from_client(self, line: bytes) -> list[Action]:
        """The client sent a line."""
        if not line.strip():
            return self._take_actions()
        messages = parse(line)
        if messages is None:
            if len(line) >= MAX_LINE:
                self._to_client(build_error(None, PARSE_ERROR, f"a message must not exceed {MAX_LINE} bytes"))
            elif self._phase is _Phase.OPEN:
                self._to_server(line)
            else:
                self._pending_messages.append(line)
            return self._take_actions()
        raws = [raw for message in messages if (raw := self._handle_client_message(message)) is not None]
        if raws:
            self._to_server(build_batch(raws))
        return self._take_actions()

    def client_closed(self) -> list[Action]:
        """The client closed its output, but may still read."""
        self._is_client_closed = True
        if self._phase in {_Phase.OPEN, _Phase.DRAINING}:
            self._close_input()
        return self._take_actions()

    def server_started(self, now: float) -> list[Action]:
        """A new server was started."""
        first = self._replay.initialize()
        if first is None:
            self._open()
        else:
            self._phase, self._deadline = _Phase.INITIALIZING, now + INITIALIZE_TIMEOUT
            self._to_server(first)
        return self._take_actions()

    def from_server(self, line: bytes) -> list[Action]:
        """The server sent a line."""
        if not line.strip():
            return self._take_actions()
        messages = parse(line)
        if messages is None:
            self._handle_invalid_line(line)
            return self._take_actions()
        raws = [raw for message in messages if (raw := self._handle_server_message(message)) is not None]
        if raws:
            # Before other actions, because notifications to the client may follow from this message.
            at = next((n for n, action in enumerate(self._actions) if not isinstance(action, Log)), len(self._actions))
            self._actions.insert(at, SendToClient(build_batch(raws)))
        if self._phase is _Phase.DRAINING:
            self._check_drained()
        return self._take_actions()

    def server_ended(self) -> list[Action]:
        """The server ended, and all of its output was read."""
        reason = _FINISHED if self._is_client_closed else _TIMED_OUT if self._phase is _Phase.CLOSING else _ENDED
        for pending in self._pending_requests.values():
            request = pending.request
            if pending.cancelled:
                continue
            if request.method in _REPEATED_METHODS and not self._is_client_closed:
                self._pending_messages.prepend(request)
            elif request.id not in self._subscriptions:
                self._to_client(build_error(request.id, SERVER_ENDED, reason))
        for line in self._server_requests.cancel_all():
            self._to_client(line)
        self._replay.reset()
        self._pending_requests = {}
        self._phase, self._deadline = _Phase.NO_SERVER, float("inf")
        return self._take_actions()

    def drain(self, deadline: float) -> list[Action]:
        """Before a restart: send no new request, and wait for pending ones until the deadline."""
        if self._phase is _Phase.OPEN:
            self._phase, self._deadline = _Phase.DRAINING, deadline
        if self._phase is _Phase.DRAINING:
            self._check_drained()
        else:
            self._actions.append(Drained())
        return self._take_actions()

    def close_input(self) -> list[Action]:
        """Ask the server to end."""
        self._close_input()
        return self._take_actions()

    def finish(self) -> list[Action]:
        """No further server will be started."""
        waiting = [message.id for message in self._pending_messages.pop_all() if isinstance(message, Request)]
        for identity in [*waiting, *self._subscriptions]:
            self._to_client(build_error(identity, SERVER_ENDED, _FINISHED))
        return self._take_actions()

    def tick(self, now: float) -> list[Action]:
        """Handle a deadline that has passed."""
        if now >= self._deadline:
            self._deadline = float("inf")
            if self._phase is _Phase.DRAINING:
                methods = sorted({pending.request.method for pending in self._pending_requests.values()})
                self._log("warning", "drain timed out", requests=", ".join(methods))
                self._actions.append(Drained())
            else:
                self._actions.append(ServerUnusable(f"no response to initialize within {INITIALIZE_TIMEOUT:g} s"))
        return self._take_actions()

    # Messages from the client.

    def _handle_client_message(self, message: Message) -> bytes | None:
        """The message as it is sent to the server now, or None."""
        match message:
            case Request():
                return self._handle_client_request(message)
            case Response():
                # Forwarded to no closed input, but no longer pending: the client must not get a cancellation for it.
                raw = self._server_requests.forward_response(message)
                return raw if self._phase is not _Phase.CLOSING else None
            case Notification():
                return self._handle_client_notification(message)
            case _:
                assert_never(message)

    def _handle_client_request(self, request: Request) -> bytes | None:
        if (
            request.id in self._pending_requests
            or request.id in self._subscriptions
            or request.id in self._pending_messages
        ):
            self._log("warning", "duplicate request id", method=request.method)
            return None
        if self._phase is not _Phase.OPEN:
            self._pending_messages.append(request)
            return None
        return self._start_request(request)

    def _start_request(self, request: Request) -> bytes:
        self._pending_requests[request.id] = _PendingRequest(request)
        self._subscriptions.add(request)
        return request.raw

    def _handle_client_notification(self, notification: Notification) -> bytes | None:
        if notification.method == INITIALIZED:
            self._state.is_initialized = True
            if self._phase in {_Phase.OPEN, _Phase.DRAINING}:
                return notification.raw
            if self._state.initialize_params is None:
                self._pending_messages.append(notification)
            return None  # The replay to the next server contains this notification.
        if notification.method == CANCELLED:
            return self._cancel(notification)
        if notification.method == PROGRESS:
            return self._server_requests.forward_progress(notification) if self._phase is not _Phase.CLOSING else None
        if self._phase is _Phase.OPEN:
            return notification.raw
        self._pending_messages.append(notification)
        return None

    def _cancel(self, notification: Notification) -> bytes | None:
        identity = param_id(notification.params, "requestId")
        if identity is None:
            return None
        self._subscriptions.remove(identity)
        if self._pending_messages.remove(identity):
            return None
        pending = self._pending_requests.get(identity)
        if pending is None:
            return None
        self._pending_requests[identity] = _PendingRequest(
            Request(b"", identity, pending.request.method), cancelled=True
        )
        if self._phase is _Phase.DRAINING:
            self._check_drained()
        return notification.raw if self._phase is not _Phase.CLOSING else None

    # Messages from the server.

    def _handle_server_message(self, message: Message) -> bytes | None:
        """The message as it is sent to the client, or None."""
        match message:
            case Request():
                return self._server_requests.forward(message)
            case Response():
                return self._handle_response(message)
            case Notification():
                if self._subscriptions.is_repeated_acknowledgment(message):
                    for line in self._subscriptions.missed_notifications(message):
                        self._to_client(line)
                    return None
                return self._server_requests.forward_notification(message)
            case _:
                assert_never(message)

    def _handle_response(self, response: Response) -> bytes | None:
        identity = response.id
        if identity is None:
            return response.raw
        if identity in self._replay:
            self._handle_replay_response(self._replay.pop(identity), response)
            return None
        pending = self._pending_requests.get(identity)
        if pending is None:
            self._log("warning", "unexpected response from server")
            return None
        if identity in self._subscriptions and self._phase is _Phase.CLOSING:
            return None  # The server ends the subscription because it stops; the next server continues it.
        del self._pending_requests[identity]
        self._subscriptions.remove(identity)
        self._state.record(pending.request, response)
        if not self._has_responded:
            self._has_responded = True
            self._actions.append(ServerResponded())
        return response.raw

    def _handle_replay_response(self, method: str, response: Response) -> None:
        if method == "initialize":
            if response.error:
                self._actions.append(ServerUnusable(f"initialize failed: {error_message(response)}"))
            elif self._phase is _Phase.INITIALIZING:
                self._resume(response)
        elif response.error:
            self._log("warning", "replayed request failed", method=method, reason=error_message(response))

    def _resume(self, response: Response) -> None:
        differences = self._replay.differences(response)
        if differences:
            note = "the client continues with the first server's values"
            self._log("warning", "server changed", differences=", ".join(differences), note=note)
        for line in self._replay.remaining_messages():
            self._to_server(line)
        self._open()
        for line in self._replay.missed_notifications():
            self._to_client(line)

    def _open(self) -> None:
        self._phase, self._deadline = _Phase.OPEN, float("inf")
        repeated = self._subscriptions.repeat()
        for request in repeated:
            self._pending_requests[request.id] = _PendingRequest(request)
            self._to_server(request.raw)
        messages = self._pending_messages.pop_all()
        if self._has_responded:
            self._log("info", "session resumed", subscriptions=len(repeated), pending=len(messages))
        for message in messages:
            match message:
                case bytes():
                    self._to_server(message)
                case Request():
                    self._to_server(self._start_request(message))
                case _:
                    self._to_server(message.raw)
        if self._is_client_closed:
            self._close_input()

    def _handle_invalid_line(self, line: bytes) -> None:
        if len(line) >= MAX_LINE:
            self._actions.append(ServerUnusable(f"it sent a line of more than {MAX_LINE} bytes"))
        else:
            # Not its text, which may hold a value in a form that redaction does not know.
            self._log("warning", "invalid message from server", length=len(line))

    # Both.

    def _check_drained(self) -> None:
        waiting = [
            pending
            for pending in self._pending_requests.values()
            if not pending.cancelled and pending.request.id not in self._subscriptions
        ]
        if not waiting and self._deadline < float("inf"):
            self._deadline = float("inf")
            self._actions.append(Drained())

    def _close_input(self) -> None:
        self._actions.append(CloseInput())
        self._phase, self._deadline = _Phase.CLOSING, float("inf")

    def _new_id(self) -> str:
        self._count += 1
        return f"lessee-{self._nonce}-{self._count}"

    def _to_client(self, line: bytes) -> None:
        self._actions.append(SendToClient(line))

    def _to_server(self, line: bytes) -> None:
        self._actions.append(SendToServer(line))

    def _log(self, level: str, event: str, **fields: object) -> None:
        self._actions.append(Log(level, event, fields))

    def _take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions
