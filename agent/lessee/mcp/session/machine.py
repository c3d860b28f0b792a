"""One session of a client with the servers that come one after the other; the client knows of one."""

from enum import Enum, auto
from typing import assert_never

from lessee.core.immutable import Record
from lessee.mcp.session.actions import Action, CloseInput, Drained, Say, ToClient, ToServer, UnusableError, Works
from lessee.mcp.session.lines import LONGEST
from lessee.mcp.session.memory import Memory
from lessee.mcp.session.messages import (
    CANCELLED,
    INITIALIZED,
    PARSE_ERROR,
    PROGRESS,
    SERVER_GONE,
    Answer,
    Id,
    Message,
    Notification,
    Request,
    batch,
    error,
    named,
    read,
)
from lessee.mcp.session.queue import Held
from lessee.mcp.session.replay import Replaying, reason
from lessee.mcp.session.server_requests import Asked
from lessee.mcp.session.streams import Listening

OPENING = 60.0
"""Seconds in which a server that is started anew is to answer `initialize`."""
ALSO_SHOWN = 8192
"""Bytes of what a server says that is no message; of more, the length is told."""
_AGAIN = frozenset({"initialize", "server/discover"})
"""What begins a session is asked of the next server where one has ended before it answered."""
_ENDED = "the server ended while it was at this request, and was started anew; it may or may not be done"
_TOO_LONG = "the server was started anew for new secrets, and this request took longer than it had; it may be done"
_OVER = "the server has ended, and is not started again; why is in its log"


class _Phase(Enum):
    AWAY = auto()
    """There is no server."""
    OPENING = auto()
    """It is told what the session was told."""
    OPEN = auto()
    DRAINING = auto()
    """What was begun is awaited; nothing is begun."""
    LEAVING = auto()
    """It hears nothing more, but may still answer."""


class _Waiting(Record, frozen=True):
    """What the server has been asked and not answered."""

    request: Request
    cancelled: bool = False


class Session:
    """What each event asks for. It has no clock: `now` is in seconds on any that goes on."""

    def __init__(self, nonce: str) -> None:
        """`nonce` makes ids of ours that nobody else has."""
        self._nonce = nonce
        self._count = 0
        self._phase = _Phase.AWAY
        self._memory = Memory()
        self._replaying = Replaying(self._memory, self._new_id)
        self._asked = Asked(self._new_id)
        self._listening = Listening()
        self._waiting: dict[Id, _Waiting] = {}
        self._held = Held()
        self._until = float("inf")
        self._works = False
        self._gone = False
        self._done: list[Action] = []

    @property
    def wake_at(self) -> float:
        """When `tick` will find something to do."""
        return self._until

    @property
    def held(self) -> int:
        """Bytes that wait for a server, and some for each message."""
        return self._held.size

    # What happens; each gives what is to be done, in this order.

    def from_client(self, line: bytes) -> list[Action]:
        """A line."""
        if not line.strip():
            return self._do()
        messages = read(line)
        if messages is None:
            if len(line) >= LONGEST:
                self._to_client(error(None, PARSE_ERROR, f"no message may be longer than {LONGEST} bytes"))
            elif self._phase is _Phase.OPEN:
                self._to_server(line)
            else:
                self._held.add(line)
            return self._do()
        raws = [raw for message in messages if (raw := self._take(message)) is not None]
        if raws:
            self._to_server(batch(raws))
        return self._do()

    def client_gone(self) -> list[Action]:
        """It says nothing more, but may still listen."""
        self._gone = True
        if self._phase in {_Phase.OPEN, _Phase.DRAINING}:
            self._close()
        return self._do()

    def server_started(self, now: float) -> list[Action]:
        """There is one again."""
        first = self._replaying.begin()
        if first is None:
            self._open()
        else:
            self._phase, self._until = _Phase.OPENING, now + OPENING
            self._to_server(first)
        return self._do()

    def from_server(self, line: bytes) -> list[Action]:
        """A line."""
        if not line.strip():
            return self._do()
        messages = read(line)
        if messages is None:
            self._pass_over(line)
            return self._do()
        raws = [raw for message in messages if (raw := self._hear(message)) is not None]
        if raws:
            # What the client is told after it, may follow from it.
            at = next((n for n, action in enumerate(self._done) if not isinstance(action, Say)), len(self._done))
            self._done.insert(at, ToClient(batch(raws)))
        if self._phase is _Phase.DRAINING:
            self._look_whether_drained()
        return self._do()

    def server_ended(self) -> list[Action]:
        """It has, and all that it said was heard."""
        why = _OVER if self._gone else _TOO_LONG if self._phase is _Phase.LEAVING else _ENDED
        for waiting in self._waiting.values():
            asked = waiting.request
            if waiting.cancelled:
                continue
            if asked.method in _AGAIN and not self._gone:
                self._held.put_back(asked)
            elif asked.id not in self._listening:
                self._to_client(error(asked.id, SERVER_GONE, why))
        for line in self._asked.forget():
            self._to_client(line)
        self._replaying.forget()
        self._waiting = {}
        self._phase, self._until = _Phase.AWAY, float("inf")
        return self._do()

    def drain(self, until: float) -> list[Action]:
        """The server is to be started anew: begin nothing, and wait for what was begun, until this time at most."""
        if self._phase is _Phase.OPEN:
            self._phase, self._until = _Phase.DRAINING, until
        if self._phase is _Phase.DRAINING:
            self._look_whether_drained()
        else:
            self._done.append(Drained())
        return self._do()

    def leave(self) -> list[Action]:
        """The server is told to end."""
        self._phase, self._until = _Phase.LEAVING, float("inf")
        self._done.append(CloseInput())
        return self._do()

    def over(self) -> list[Action]:
        """There will be no server any more."""
        held = [one.id for one in self._held.take() if isinstance(one, Request)]
        for identity in [*held, *self._listening]:
            self._to_client(error(identity, SERVER_GONE, _OVER))
        return self._do()

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        if now >= self._until:
            self._until = float("inf")
            if self._phase is _Phase.DRAINING:
                late = sorted({one.request.method for one in self._waiting.values()})
                self._say("warning", "server is not waited for any longer", requests=", ".join(late))
                self._done.append(Drained())
            else:
                self._done.append(UnusableError(f"it has not answered initialize within {OPENING:g} s"))
        return self._do()

    # Of the client.

    def _take(self, message: Message) -> bytes | None:
        """What of it goes to the server at once."""
        match message:
            case Request():
                return self._take_request(message)
            case Answer():
                # Where the input is closed nobody can be told any more.
                return self._asked.answer(message) if self._phase is not _Phase.LEAVING else None
            case Notification():
                return self._take_notification(message)
            case _:
                assert_never(message)

    def _take_request(self, message: Request) -> bytes | None:
        if message.id in self._waiting or message.id in self._listening or message.id in self._held:
            self._say("warning", "client asked twice by one id", method=message.method)
            return None
        if self._phase is not _Phase.OPEN:
            self._held.add(message)
            return None
        return self._begin(message)

    def _begin(self, message: Request) -> bytes:
        self._waiting[message.id] = _Waiting(message)
        self._listening.begin(message)
        return message.raw

    def _take_notification(self, message: Notification) -> bytes | None:
        if message.method == INITIALIZED:
            self._memory.initialized = True
            if self._phase in {_Phase.OPEN, _Phase.DRAINING}:
                return message.raw
            if self._memory.initialize is None:
                self._held.add(message)
            return None  # Who is told all anew, is told this with it.
        if message.method == CANCELLED:
            return self._cancel(message)
        if message.method == PROGRESS:
            return self._asked.progress(message) if self._phase is not _Phase.LEAVING else None
        if self._phase is _Phase.OPEN:
            return message.raw
        self._held.add(message)
        return None

    def _cancel(self, message: Notification) -> bytes | None:
        identity = named(message.params, "requestId")
        if identity is None:
            return None
        self._listening.end(identity)
        if self._held.remove(identity):
            return None
        waiting = self._waiting.get(identity)
        if waiting is None:
            return None
        self._waiting[identity] = _Waiting(Request(b"", identity, waiting.request.method), cancelled=True)
        if self._phase is _Phase.DRAINING:
            self._look_whether_drained()
        return message.raw if self._phase is not _Phase.LEAVING else None

    # Of the server.

    def _hear(self, message: Message) -> bytes | None:
        """What of it goes to the client."""
        match message:
            case Request():
                return self._asked.ask(message)
            case Answer():
                return self._hear_answer(message)
            case Notification():
                if self._listening.swallows(message):
                    for line in self._listening.missed(message):
                        self._to_client(line)
                    return None
                return self._asked.notify_client(message)
            case _:
                assert_never(message)

    def _hear_answer(self, message: Answer) -> bytes | None:
        identity = message.id
        if identity is None:
            return message.raw
        if identity in self._replaying:
            self._hear_own(self._replaying.answered(identity), message)
            return None
        waiting = self._waiting.get(identity)
        if waiting is None:
            self._say("warning", "server answered what nobody asks")
            return None
        if identity in self._listening and self._phase is _Phase.LEAVING:
            return None  # It is told that this ends, and the next server will go on.
        del self._waiting[identity]
        self._listening.end(identity)
        self._memory.note(waiting.request, message)
        if not self._works:
            self._works = True
            self._done.append(Works())
        return message.raw

    def _hear_own(self, method: str, answer: Answer) -> None:
        if method == "initialize":
            if answer.error:
                self._done.append(UnusableError(f"it refuses initialize: {reason(answer)}"))
            elif self._phase is _Phase.OPENING:
                self._resume(answer)
        elif answer.error:
            self._say("warning", "server started anew refuses a part", method=method, reason=reason(answer))

    def _resume(self, answer: Answer) -> None:
        others = self._replaying.differences(answer)
        if others:
            note = "the client goes on with what the first one said"
            self._say("warning", "server started anew is another", differs=", ".join(others), note=note)
        for line in self._replaying.rest():
            self._to_server(line)
        self._open()
        for line in self._replaying.missed():
            self._to_client(line)

    def _open(self) -> None:
        self._phase, self._until = _Phase.OPEN, float("inf")
        again = self._listening.again()
        for told in again:
            self._waiting[told.id] = _Waiting(told)
            self._to_server(told.raw)
        held = self._held.take()
        if self._works:
            self._say("info", "session goes on", streams=len(again), held=len(held))
        for message in held:
            match message:
                case bytes():
                    self._to_server(message)
                case Request():
                    self._to_server(self._begin(message))
                case _:
                    self._to_server(message.raw)
        if self._gone:
            self._close()

    def _pass_over(self, line: bytes) -> None:
        if len(line) >= LONGEST:
            self._done.append(UnusableError(f"a line of it is longer than {LONGEST} bytes"))
        elif len(line) > ALSO_SHOWN:
            self._say("warning", "server said what is no message", length=len(line))
        else:
            self._say("warning", "server said what is no message", line=line.decode(errors="replace").strip())

    # Both.

    def _look_whether_drained(self) -> None:
        waits = [one for one in self._waiting.values() if not one.cancelled and one.request.id not in self._listening]
        if not waits and self._until < float("inf"):
            self._until = float("inf")
            self._done.append(Drained())

    def _close(self) -> None:
        self._done.append(CloseInput())
        self._phase, self._until = _Phase.LEAVING, float("inf")

    def _new_id(self) -> str:
        self._count += 1
        return f"lessee-{self._nonce}-{self._count}"

    def _to_client(self, line: bytes) -> None:
        self._done.append(ToClient(line))

    def _to_server(self, line: bytes) -> None:
        self._done.append(ToServer(line))

    def _say(self, level: str, event: str, **fields: object) -> None:
        self._done.append(Say(level, event, fields))

    def _do(self) -> list[Action]:
        done, self._done = self._done, []
        return done
