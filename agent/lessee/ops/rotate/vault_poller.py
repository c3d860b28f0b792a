"""Asks Vault for journals and confirmations between rotations: a thread, with a token of its own while it is good."""

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import TypeVar

from lessee.core.errors import LesseeError, RefusedError, VaultUnreachableError
from lessee.host.clock import boot_time
from lessee.ops.rotate.confirmations import confirmations
from lessee.ops.rotate.documents import Document, Kept, journal_in
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import AdminClient, admin_client

_PATIENCE = 2.0
"""Seconds at the end for giving back the token."""
_HALF = 2.0
"""Of a token's time: then it is renewed, or another one taken."""

_T = TypeVar("_T")


class Asker:
    """Answers go to `post`, one for each question; for one thread that asks."""

    def __init__(self, post: Callable[[s.Event], None]) -> None:
        self._post = post
        self._questions: queue.SimpleQueue[tuple[Project, s.Look | s.Ask] | None] = queue.SimpleQueue()
        self._session = _Session()
        self._seen: Mapping[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="lessee-ask", daemon=True)
        self._thread.start()

    def ask(self, project: Project, question: s.Look | s.Ask) -> None:
        """Have it answered."""
        self._questions.put((project, question))

    def close(self) -> None:
        """Give the token back, if that is soon done."""
        self._questions.put(None)
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while (letter := self._questions.get()) is not None:
            try:
                self._session.open(letter[0])
                answer = self._answer(*letter)
            except LesseeError as exc:
                answer = s.VaultUnavailable(str(exc))
            except Exception as exc:  # noqa: BLE001  # Its text may hold a value, and somebody waits for an answer.
                answer = s.VaultUnavailable(f"internal error: {type(exc).__name__}; please report it")
            self._post(answer)
            if isinstance(answer, s.VaultUnavailable):
                self._session.close()
        self._session.close()

    def _answer(self, project: Project, question: s.Look | s.Ask) -> s.Event:
        if isinstance(question, s.Look):
            return self._look(project, question)
        secrets = project.config.secrets
        try:
            return s.Asked(
                self._session.ask(project, lambda client: confirmations(client, secrets.mount, secrets.prefix)())
            )
        except RefusedError:
            # The rotation itself asks for them too, and tells that it may not.
            return s.Asked(())

    def _look(self, project: Project, question: s.Look) -> s.Looked:
        journals: dict[str, j.Journal] = {}
        unreadable: dict[str, str] = {}
        seen: dict[str, int] = {}
        for name in question.targets:
            path = project.target(name).journal
            try:
                document = self._session.ask(project, partial(_read, project, path))
                if name in question.unknown or document.version != self._seen.get(name):
                    journals[name] = journal_in(document, path)
                seen[name] = document.version
            except RefusedError as exc:
                unreadable[name] = str(exc)
        self._seen = seen
        return s.Looked(journals, unreadable)


def _read(project: Project, path: str, client: AdminClient) -> Document:
    return Kept(client, project.config.secrets.mount).read(path)


class _Session:
    """One login, for as long as its token is good."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: tuple[Project, AdminClient] | None = None
        self._until = 0.0
        self._is_new = False

    def open(self, project: Project) -> AdminClient:
        """Raises RefusedError and VaultUnreachableError."""
        self._is_new = self._open is None or self._open[0] is not project or boot_time() >= self._until
        if self._open is not None and not self._is_new:
            return self._open[1]
        self.close()
        client = self._stack.enter_context(admin_client(project.config.vault, project.environ, boot_time))
        self._open = project, client
        self._until = boot_time() + _good_for(client, is_given=bool(project.environ.get("VAULT_TOKEN")))
        return client

    def ask(self, project: Project, question: Callable[[AdminClient], _T]) -> _T:
        """Where an older token is refused, once more with a new one: somebody may have revoked it."""
        client = self._open[1] if self._open is not None else self.open(project)
        try:
            return question(client)
        except RefusedError:
            if self._is_new:
                raise
        self.close()
        try:
            return question(self.open(project))
        except RefusedError as exc:
            if self._open is not None:
                raise
            raise VaultUnreachableError(exc.what, where=exc.where, todo=exc.todo) from None  # It is not the path.

    def close(self) -> None:
        """A token of ours is revoked."""
        self._open = None
        with suppress(LesseeError):
            self._stack.close()


def _good_for(client: AdminClient, *, is_given: bool) -> float:
    """Seconds until another look at the token. One that was given has nobody else who renews it."""
    with suppress(RefusedError):
        if is_given:
            client.write("auth/token/renew-self")
    said: Mapping[str, object] = {}
    with suppress(RefusedError):
        said = client.read("auth/token/lookup-self") or {}
    ttl = said.get("ttl")
    return ttl / _HALF if isinstance(ttl, int) and ttl > 0 else float("inf")
