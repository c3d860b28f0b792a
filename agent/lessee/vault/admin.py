"""An operator's way to one Vault: asked by path, and what goes wrong told as a person may read it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from msgspec.structs import replace

from lessee.config import Vault
from lessee.config.grammar.vault import AppRole, Auth
from lessee.core.errors import LesseeError, RefusedError, VaultUnreachableError
from lessee.core.failures import Failure, Kind
from lessee.vault.connect import address_of, method_of
from lessee.vault.engines import leases
from lessee.vault.transport import Answer, RequestFailedError, Transport

Clock = Callable[[], float]

_NOT_NOW = frozenset({Kind.UNAVAILABLE, Kind.LIMITED, Kind.PATH_ERROR})


class AdminClient:
    """A token at a server. What fails is told with its path, and without what the server said of it."""

    def __init__(self, transport: Transport, token: str) -> None:
        self.transport = transport
        self.token = token

    def read(self, path: str, params: Mapping[str, str] | None = None) -> Mapping[str, Any] | None:
        """The data at a path; None where nothing is there. Raises RefusedError or VaultUnreachableError."""
        try:
            return self._ask("GET", path, params=params).data
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.MISSING:
                return None
            raise request_error(exc.failure, path) from None

    def list(self, path: str) -> tuple[str, ...]:
        """The names below a path, folders with a slash at the end. Raises RefusedError or VaultUnreachableError."""
        return tuple((self.read(path, {"list": "true"}) or {}).get("keys") or ())

    def write(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        wrap_ttl: float | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Write at a path. `wrap_ttl`: the answer is response-wrapped for so many seconds.

        Raises RefusedError or VaultUnreachableError; after the latter nobody knows whether it was done.
        """
        try:
            return self._ask(method, path, body=body or {}, wrap_ttl=wrap_ttl, timeout=timeout)
        except RequestFailedError as exc:
            raise request_error(exc.failure, path) from None

    def delete(self, path: str) -> None:
        """What is not there is no error. Raises RefusedError or VaultUnreachableError."""
        try:
            self._ask("DELETE", path)
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.MISSING:
                raise request_error(exc.failure, path) from None

    def _ask(self, method: str, path: str, **settings: Any) -> Answer:
        return self.transport.ask(method, path, token=self.token, **settings)


@contextmanager
def admin_client(
    vault: Vault, environ: Mapping[str, str], clock: Clock, *, token: str | None = None
) -> Iterator[AdminClient]:
    """With `token`, or $VAULT_TOKEN where it is None; if that is empty, by a login as in the configuration.

    The token of such a login is revoked at the end. Raises RefusedError or VaultUnreachableError.
    """
    value = (environ.get("VAULT_TOKEN", "") if token is None else token).strip()
    with closing(Transport(address_of(vault, environ))) as transport:
        if value:
            yield AdminClient(transport, value)
            return
        try:
            grant = method_of(_sparing(vault), environ).login(transport, clock)
        except RequestFailedError as exc:
            raise request_error(exc.failure, vault.address) from None
        try:
            yield AdminClient(transport, grant.value)
        finally:
            if grant.token.ours:
                with suppress(RequestFailedError):  # It ends by itself.
                    leases.revoke_token(transport, grant.value)


@contextmanager
def unauthenticated_client(vault: Vault, environ: Mapping[str, str]) -> Iterator[AdminClient]:
    """One without a token, at the first address alone: for what a server that is not set up answers to everybody."""
    alone = replace(vault, addresses=(), namespace=None)
    with closing(Transport(address_of(alone, environ))) as transport:
        yield AdminClient(transport, "")


def request_error(failure: Failure, where: str) -> LesseeError:
    """A failed request as an error for people."""
    if failure.kind in _NOT_NOW:
        return VaultUnreachableError(failure.text, where=where)
    todo = "set $VAULT_TOKEN to a token that may" if failure.kind is Kind.DENIED else ""
    return RefusedError(failure.text, where=where, todo=todo)


def _sparing(vault: Vault) -> Auth:
    """The configured way to log in, without what would take it from the agent."""
    auth = vault.auth
    if not isinstance(auth, AppRole):
        return auth
    if auth.wrapped:
        todo = "set $VAULT_TOKEN to a token of yours"
        raise RefusedError("a login would spend the wrapping token, which is for the agent", todo=todo)
    return replace(auth, remove_secret_id_file_after_reading=False)
