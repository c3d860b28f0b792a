"""Sends an operator's requests to one Vault, and turns failures into errors for people."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cached_property
from typing import Any, TypeVar

from msgspec.structs import replace

from lessee.config import Vault
from lessee.config.grammar.vault import AppRole, Auth
from lessee.core.errors import DeniedError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Failure, Kind
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token
from lessee.vault import wire
from lessee.vault.auth.login import AuthMethod, Grant, look_up
from lessee.vault.client_factory import address_of, auth_method_of
from lessee.vault.engines import kv, leases
from lessee.vault.responses import ANY
from lessee.vault.transport import RequestFailedError, Response, Transport

Clock = Callable[[], float]

_T = TypeVar("_T")

OPERATORS_TODO = "set $VAULT_TOKEN to a token whose policy grants this"
"""What an operator does about a denied request."""
_UNAVAILABLE = frozenset({Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.PATH_ERROR})
_REFUSED = frozenset({Kind.DENIED, Kind.FORBIDDEN})
_PENDING_INTERVAL = 1.0
"""Seconds between two looks at a login that waits for a person; it polls the server less often."""
_HEALTH = {"standbyok": "true", "perfstandbyok": "true", "sealedcode": "200", "uninitcode": "200"}
"""All of these answer 200: the body says which of them it is."""


class AdminClient:
    """Requests with one token. Every method raises DeniedError or VaultUnreachableError, with the path and a `kind`.

    `hvac` has hvac's named methods. The generic ones here serve what hvac does not have: paths that come from a record,
    raft snapshots, and reads of secrets whose deleted versions count.
    """

    def __init__(
        self, transport: Transport, token: str, *, timeout: float | None = None, todo: str = OPERATORS_TODO
    ) -> None:
        """An empty `token` sends none. `timeout`: seconds for each read of an answer.

        `todo`: what to do about a denied request.
        """
        self._transport = transport
        self._token = token
        self._timeout = timeout
        self._todo = todo

    @property
    def address(self) -> str:
        """The URL in use."""
        return self._transport.address

    @cached_property
    def hvac(self) -> Any:
        """An hvac.Client over the same transport; it returns what hvac does, and raises as the methods here."""
        # hvac and requests take 8 MiB and 50 ms more: only a command that calls a named method pays for them.
        from lessee.vault.hvac_adapter import hvac_client  # noqa: PLC0415

        return hvac_client(self)

    def with_token(self, token: str) -> "AdminClient":
        """The same server with another token."""
        return AdminClient(self._transport, token, timeout=self._timeout, todo=self._todo)

    def with_timeout(self, seconds: float) -> "AdminClient":
        """The same server and token, with more time for each answer."""
        return AdminClient(self._transport, self._token, timeout=seconds, todo=self._todo)

    @property
    def unauthenticated(self) -> "AdminClient":
        """The same server, without a token."""
        return self.with_token("")

    def read(self, path: str, params: Mapping[str, str] | None = None) -> Mapping[str, Any] | None:
        """The data at a path, or None if there is nothing."""
        return unless_missing(lambda: self.request("GET", path, params=params).data)

    def list(self, path: str) -> tuple[str, ...]:
        """The names below a path; a folder's name ends in a slash."""
        return tuple((self.read(path, {"list": "true"}) or {}).get("keys") or ())

    def write(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        wrap_ttl: float | None = None,
    ) -> Response:
        """Write at a path. `wrap_ttl`: the answer is response-wrapped for this many seconds.

        After VaultUnreachableError it is not known whether the server did it.
        """
        return self.request(method, path, body=body or {}, wrap_ttl=wrap_ttl)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Merge into what is at a path; a None removes a key (RFC 7396). What others write meanwhile stays."""
        self.request("PATCH", path, body=body, headers={"Content-Type": "application/merge-patch+json"})

    def delete(self, path: str) -> None:
        """Delete what is at a path. If there is nothing, that is no error."""
        unless_missing(lambda: self.request("DELETE", path))

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        wrap_ttl: float | None = None,
        changes: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send any request; if there is nothing at the path, the error's kind is NOT_FOUND.

        `changes`: the transport must not send it twice; default: all but GET. `headers`: besides Vault's own.
        """
        with self._errors_at(path):
            return self._transport.request(
                method,
                path,
                token=self._token,
                body=body,
                params=params,
                timeout=self._timeout,
                changes=changes,
                wrap_ttl=wrap_ttl,
                limits=ANY,
                headers=headers,
            )

    @contextmanager
    def stream(
        self, method: str, path: str, *, body: Iterable[bytes] | None = None, size: int = 0
    ) -> Iterator[wire.Response]:
        """An answer that the caller reads piece by piece, to a body of `size` bytes that is sent piece by piece."""
        with (
            self._errors_at(path),
            self._transport.stream(method, path, token=self._token, body=body, size=size) as response,
        ):
            yield response

    def health(self) -> Mapping[str, Any]:
        """The answer of sys/health: `initialized`, `sealed`, `standby`. It takes no token."""
        # hvac's read_health_status has no perfstandbyok, and returns an unavailable server's answer as if it were good.
        with self._errors_at(self.address):
            return self._transport.request("GET", "sys/health", token=None, params=_HEALTH, timeout=self._timeout).data

    def seal_status(self) -> Response:
        """The answer of sys/seal-status, with the server's date. It takes no token."""
        with self._errors_at(self.address):
            return self._transport.request("GET", "sys/seal-status", token=None, timeout=self._timeout)

    def look_up_token(self, clock: Clock) -> Token:
        """What Vault says about the token; the kind is UNSUPPORTED if it is valid but may not look itself up."""
        with self._errors_at(self.address):
            return look_up(self._transport, self._token, clock)

    def capabilities(self, paths: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """What the token may do at each of these paths."""
        with self._errors_at("sys/capabilities-self"):
            found = self._transport.request(
                "POST", "sys/capabilities-self", token=self._token, body={"paths": list(paths)}, changes=False
            )
        return {path: found.data.get(path) or () for path in paths}

    def kv_version(self, mount: str) -> int:
        """The version of the KV secrets engine at a mount: 1 or 2."""
        with self._errors_at(mount):
            return kv.detect_version(self._transport, self._token, mount)

    def lists_kv_versions(self, mount: str) -> bool:
        """Whether a listing of this KV mount can hold each secret's version, as on OpenBao 2.3 and later."""
        with self._errors_at(mount):
            return kv.has_detailed_listing(self._transport, self._token, mount)

    def read_secret(self, ref: Ref, version: int) -> Secret | VersionMetadata | None:
        """A KV secret; the metadata alone of a deleted one; None if there never was one. `version` of the engine."""
        try:
            return kv.read(self._transport, self._token, ref, version, limits=ANY)
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.NOT_FOUND:
                raise request_error(exc.failure, str(ref), self._todo, self.address) from None
            return kv.deleted_version(exc)

    def read_version(self, path: str, number: int) -> Mapping[str, Any]:
        """One version of a KV v2 secret, as the server answers: of a deleted one the `metadata` alone, or nothing."""
        try:
            params = {"version": str(number)}
            return self._transport.request(
                "GET", path, token=self._token, params=params, timeout=self._timeout, limits=ANY
            ).data
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.NOT_FOUND:
                raise request_error(exc.failure, path, self._todo, self.address) from None
            return exc.data

    def list_secrets(self, folder: Folder, version: int) -> tuple[str, ...]:
        """The names of the KV secrets in a folder, without its subfolders; the kind is NOT_FOUND if there are none."""
        with self._errors_at(str(folder)):
            return tuple(kv.list_folder(self._transport, self._token, folder, version, detailed=False).secrets)

    def _errors_at(self, where: str) -> AbstractContextManager[None]:
        return _errors_at(where, self._todo, self.address)


@contextmanager
def admin_client(
    vault: Vault,
    environ: Mapping[str, str],
    clock: Clock,
    *,
    token: str | None = None,
    todo: str = OPERATORS_TODO,
) -> Iterator[AdminClient]:
    """A client with `token`, or without it with $VAULT_TOKEN. If that is empty, it logs in as configured.

    The token of such a login is revoked at the end. `todo`: what to do about a denied request.
    Raises DeniedError or VaultUnreachableError.
    """
    value = (environ.get("VAULT_TOKEN", "") if token is None else token).strip()
    with closing(Transport(address_of(vault, environ))) as transport:
        if value:
            yield AdminClient(transport, value, todo=todo)
            return
        with _errors_at(vault.address, todo):
            grant = _log_in(auth_method_of(_without_side_effects(vault), environ), transport, clock)
        try:
            yield AdminClient(transport, grant.value, todo=todo)
        finally:
            if grant.token.ours:
                with suppress(RequestFailedError):  # It ends by its ttl.
                    leases.revoke_token(transport, grant.value)


def credentials_fingerprint(vault: Vault, environ: Mapping[str, str]) -> bytes:
    """A hash that changes with the contents of the files from which `admin_client` would log in.

    Raises DeniedError where it would not log in.
    """
    with _errors_at(vault.address):
        return auth_method_of(_without_side_effects(vault), environ).fingerprint()


@contextmanager
def unauthenticated_client(vault: Vault, environ: Mapping[str, str]) -> Iterator[AdminClient]:
    """A client without a token, for the first address alone: initialization and unseal concern one node."""
    node = replace(vault, addresses=(), namespace=None)
    with closing(Transport(address_of(node, environ))) as transport:
        yield AdminClient(transport, "")


def unless_missing(ask: Callable[[], _T]) -> _T | None:
    """What a request returns, or None if there is nothing at its path."""
    try:
        return ask()
    except VaultRequestError as exc:
        if exc.kind is not Kind.NOT_FOUND:
            raise
        return None


def _log_in(method: AuthMethod, transport: Transport, clock: Clock) -> Grant:
    """Log in, and wait for a person if the login does. It ends when the code of such a login expires."""
    while True:
        try:
            return method.login(transport, clock)
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.PENDING:
                raise
        time.sleep(_PENDING_INTERVAL)


def request_error(failure: Failure, where: str, todo: str = OPERATORS_TODO, address: str = "") -> VaultRequestError:
    """A failed request as an error for people. `address`: of the server."""
    if failure.kind in _UNAVAILABLE:
        check = f"check that Vault answers at {address}" if address and address != where else ""
        return VaultUnreachableError(failure.text, where=where, todo=check, kind=failure.kind)
    return DeniedError(failure.text, where=where, todo=todo if failure.kind in _REFUSED else "", kind=failure.kind)


@contextmanager
def _errors_at(where: str, todo: str = OPERATORS_TODO, address: str = "") -> Iterator[None]:
    try:
        yield
    except RequestFailedError as exc:
        raise request_error(exc.failure, where, todo, address) from None


def _without_side_effects(vault: Vault) -> Auth:
    """The configured login, without the settings that would use up the agent's credentials."""
    auth = vault.auth
    if not isinstance(auth, AppRole):
        return auth
    if auth.wrapped:
        what = "a login would use up the agent's wrapping token"
        raise DeniedError(what, where=vault.address, todo="set $VAULT_TOKEN to a token of yours")
    return replace(auth, remove_secret_id_file_after_reading=False)
