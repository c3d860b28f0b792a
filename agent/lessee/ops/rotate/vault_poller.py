"""Reads journals and confirmations from Vault between rotations, in a thread that reuses its token."""

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import TypeVar

from lessee.core.errors import DeniedError, LesseeError, VaultUnreachableError
from lessee.host.clock import boot_time
from lessee.ops.rotate.documents import ConsumerStore, Document, DocumentStore, journal_in
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy import service_state as s
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import AdminClient
from lessee.vault.service_logins import LoginRefusedError, ServiceLogins

_CLOSE_TIMEOUT = 2.0
"""Seconds at the end for revoking the token."""
_TTL_DIVISOR = 2.0
"""After this part of its TTL, a half, the token is renewed or replaced."""

_T = TypeVar("_T")
_Request = s.ReadJournals | s.ReadConfirmations


class VaultPoller:
    """Passes one result for each request to `post`. For one thread that makes requests."""

    def __init__(self, post: Callable[[s.Event], None], logins: ServiceLogins) -> None:
        self._post = post
        self._requests: queue.SimpleQueue[tuple[Project, _Request] | None] = queue.SimpleQueue()
        self._session = _Session(logins)
        self._versions: Mapping[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="lessee-poll", daemon=True)
        self._thread.start()

    def request(self, project: Project, request: _Request) -> None:
        """Queue a request."""
        self._requests.put((project, request))

    def close(self) -> None:
        """Revoke the token, if Vault answers soon."""
        self._requests.put(None)
        self._thread.join(_CLOSE_TIMEOUT)

    def _run(self) -> None:
        while (queued := self._requests.get()) is not None:
            project, request = queued
            try:
                self._session.open(project)
                result = self._result(project, request)
            except LoginRefusedError as exc:
                result = s.LoginRefused(str(exc))
            except LesseeError as exc:
                result = s.VaultUnavailable(str(exc))
            except Exception as exc:  # noqa: BLE001  # Its text may hold a value, and the loop waits for a result.
                result = s.VaultUnavailable(f"internal error: {type(exc).__name__}; please report it")
            self._post(result)
            if isinstance(result, s.VaultUnavailable | s.LoginRefused):
                self._session.close()
        self._session.close()

    def _result(self, project: Project, request: _Request) -> s.Event:
        if isinstance(request, s.ReadJournals):
            return self._read_journals(project, request)
        secrets = project.config.secrets
        try:
            consumers = self._session.call(
                project, lambda client: ConsumerStore(client, secrets.mount, secrets.prefix).read()
            )
        except DeniedError:
            # The rotation itself reads them too, and reports that it may not.
            consumers = ()
        return s.ConfirmationsRead(consumers)

    def _read_journals(self, project: Project, request: s.ReadJournals) -> s.JournalsRead:
        journals: dict[str, j.Journal] = {}
        unreadable: dict[str, str] = {}
        versions: dict[str, int] = {}
        for name in request.targets:
            path = project.target(name).journal
            try:
                document = self._session.call(project, partial(_read, project, path))
                if name in request.unknown or document.version != self._versions.get(name):
                    journals[name] = journal_in(document, path)
                versions[name] = document.version
            except DeniedError as exc:
                unreadable[name] = str(exc)
        self._versions = versions
        return s.JournalsRead(journals, unreadable)


def _read(project: Project, path: str, client: AdminClient) -> Document:
    return DocumentStore(client, project.config.secrets.mount).read(path)


class _Session:
    """One login, used while its token is valid."""

    def __init__(self, logins: ServiceLogins) -> None:
        self._logins = logins
        self._stack = ExitStack()
        self._open: tuple[Project, AdminClient] | None = None
        self._until = 0.0
        self._is_new = False

    def open(self, project: Project) -> AdminClient:
        """The client of this login, or of a new one. Raises LoginRefusedError, DeniedError and VaultUnreachableError.

        While logins are refused, an older token proves nothing: rotations log in by themselves.
        """
        is_valid = self._open is not None and self._open[0] is project and boot_time() < self._until
        self._is_new = self._logins.are_refused or not is_valid
        if self._open is not None and not self._is_new:
            return self._open[1]
        self.close()
        client = self._stack.enter_context(self._logins.client(project.config.vault, project.environ))
        self._open = project, client
        self._until = boot_time() + _valid_for(client, is_given=bool(project.environ.get("VAULT_TOKEN")))
        return client

    def call(self, project: Project, read: Callable[[AdminClient], _T]) -> _T:
        """What `read` returns. If Vault denies it to an older token, which may be revoked, a new login tries again."""
        client = self._open[1] if self._open is not None else self.open(project)
        try:
            return read(client)
        except DeniedError:
            if self._is_new:
                raise
        self.close()
        try:
            return read(self.open(project))
        except DeniedError as exc:
            if self._open is not None:
                raise
            # The login failed, and not the request.
            raise VaultUnreachableError(exc.what, where=exc.where, todo=exc.todo) from None

    def close(self) -> None:
        """Revoke the token of this login."""
        self._open = None
        with suppress(LesseeError):
            self._stack.close()


def _valid_for(client: AdminClient, *, is_given: bool) -> float:
    """Seconds until the token is looked up again. Only lessee renews a token that was given in $VAULT_TOKEN."""
    with suppress(DeniedError):
        if is_given:
            client.write("auth/token/renew-self")
    token: Mapping[str, object] = {}
    with suppress(DeniedError):
        token = client.read("auth/token/lookup-self") or {}
    ttl = token.get("ttl")
    return ttl / _TTL_DIVISOR if isinstance(ttl, int) and ttl > 0 else float("inf")
