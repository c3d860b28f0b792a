"""What a server has asked its client: by ids that no other server of the session uses."""

from collections.abc import Callable

from lessee.mcp.session.messages import (
    CANCELLED,
    Answer,
    Id,
    Notification,
    Request,
    answer_as,
    meta,
    named,
    notification,
    notification_as,
    request_as,
)

_WHY = "the server was started anew"


class Asked:
    """The requests of the one server that there is, and to which the client has not answered.

    The first server's ids stay as they are. A later one may choose the same: it gets its own.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._first = True
        self._ids: dict[Id, Id] = {}
        """What the client knows each by, and what the server does."""
        self._tokens: dict[Id, tuple[Id, Id]] = {}
        """The same of progress tokens; and by which id the client knows the request."""

    def ask(self, told: Request) -> bytes:
        """What the client is asked."""
        token = meta(told.params, "progressToken")
        if self._first:
            self._remember(told.id, told.id, token, token)
            return told.raw
        identity = self._new_id()
        self._remember(identity, told.id, identity, token)
        return request_as(identity, told, identity if token is not None else None)

    def answer(self, told: Answer) -> bytes | None:
        """What the server is answered; None where it has not asked."""
        if told.id is None or told.id not in self._ids:
            return None
        theirs = self._ids.pop(told.id)
        self._tokens = {token: known for token, known in self._tokens.items() if known[1] != told.id}
        return told.raw if theirs == told.id else answer_as(theirs, told)

    def progress(self, told: Notification) -> bytes | None:
        """What the server is told of the client's progress; None where it has not asked."""
        token = named(told.params, "progressToken")
        if token is None or token not in self._tokens:
            return None
        theirs = self._tokens[token][0]
        return told.raw if theirs == token else notification_as("progressToken", theirs, told)

    def notify_client(self, told: Notification) -> bytes | None:
        """A notification of the server; None where it is about what the client has answered."""
        if told.method != CANCELLED:
            return told.raw
        theirs = named(told.params, "requestId")
        identity = next((ours for ours, known in self._ids.items() if known == theirs), None)
        if identity is None:
            return None
        return told.raw if theirs == identity else notification_as("requestId", identity, told)

    def forget(self) -> list[bytes]:
        """There is another server now: what the client is told of the old one's requests."""
        told = [notification(CANCELLED, {"requestId": identity, "reason": _WHY}) for identity in self._ids]
        self._ids, self._tokens, self._first = {}, {}, False
        return told

    def _remember(self, ours: Id, theirs: Id, our_token: Id | None, their_token: Id | None) -> None:
        self._ids[ours] = theirs
        if our_token is not None and their_token is not None:
            self._tokens[our_token] = their_token, ours
