"""Logs in for all threads of an operators' service, and sends refused credentials again only seldom, as agents do."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from lessee.config import Vault
from lessee.config.grammar.vault import AppRole
from lessee.core.backoff import FORBIDDEN_LOGIN_DELAY, delay, refused_login_delay
from lessee.core.errors import DeniedError, LesseeError
from lessee.core.failures import Kind
from lessee.core.immutable import ImmutableStruct, replace
from lessee.vault.admin import OPERATORS_TODO, AdminClient, admin_client, credentials_fingerprint

_REVOKED_TODO = "if its secret_id was revoked, `lessee setup --output DIR` writes a new one, which is read by itself"


class LoginRefusedError(LesseeError):
    """Vault refuses the credentials, or has refused them so recently that they are not sent again yet."""

    exit_code = DeniedError.exit_code


class _Refusal(ImmutableStruct, frozen=True):
    """Times are the clock's."""

    hidden = ("credentials",)

    credentials: tuple[Vault, bytes]
    since: float
    error: LoginRefusedError
    count: int = 1
    retry_at: float = 0.0


class ServiceLogins:
    """The logins of one service, one at a time: several concurrent refusals would lock its role for all its clients."""

    def __init__(self, clock: Callable[[], float], todo: str = OPERATORS_TODO) -> None:
        """`clock`: seconds, for all waits. `todo`: what an operator does about a denied request or login."""
        self._clock, self._todo = clock, todo
        self._lock = threading.Lock()
        self._refusal: _Refusal | None = None

    @property
    def are_refused(self) -> bool:
        """Whether the last login was refused."""
        return self._refusal is not None

    @contextmanager
    def client(self, vault: Vault, environ: Mapping[str, str]) -> Iterator[AdminClient]:
        """As `admin_client`, but raises LoginRefusedError where Vault refuses the login.

        Until `refused_login_delay`, or until the credentials change, it raises that without a request to Vault.
        """
        with ExitStack() as stack:
            if environ.get("VAULT_TOKEN", "").strip():
                client = stack.enter_context(admin_client(vault, environ, self._clock, todo=self._todo))
            else:
                with self._lock:
                    client = self._log_in(stack, vault, environ)
            yield client

    def _log_in(self, stack: ExitStack, vault: Vault, environ: Mapping[str, str]) -> AdminClient:
        credentials, now = (vault, credentials_fingerprint(vault, environ)), self._clock()
        known = self._refusal if self._refusal is not None and self._refusal.credentials == credentials else None
        if known is not None and now < known.retry_at:
            raise known.error from None
        try:
            client = stack.enter_context(admin_client(vault, environ, self._clock, todo=self._todo))
        except DeniedError as exc:
            todo = f"{self._todo}; {_REVOKED_TODO}" if isinstance(vault.auth, AppRole) else self._todo
            error = LoginRefusedError(exc.what, where=exc.where, todo=todo)
            refusal = replace(known, count=known.count + 1, error=error) if known else _Refusal(credentials, now, error)
            self._refusal = replace(refusal, retry_at=self._clock() + self._wait(refusal, exc.kind))
            raise error from None
        self._refusal = None
        return client

    def _wait(self, refusal: _Refusal, kind: Kind) -> float:
        """Seconds until the same credentials are sent again."""
        if kind is Kind.FORBIDDEN:  # It names no credentials, and does not count for a lockout.
            duration = self._clock() - refusal.since
            return delay(refusal.count - 1, random.random(), duration=duration, base=FORBIDDEN_LOGIN_DELAY)  # noqa: S311  # Jitter is no secret.
        return refused_login_delay(refusal.count - 1)
