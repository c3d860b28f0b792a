"""Lets hvac send its requests through an AdminClient, and so over lessee's transport."""

from collections.abc import Mapping
from re import compile as pattern
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from urllib.parse import unquote

import hvac
from hvac.adapters import JSONAdapter

if TYPE_CHECKING:
    from lessee.vault.responses import Response

_OPTIONS = frozenset({"json", "params", "wrap_ttl"})
_READS = pattern(
    r"sys/(capabilities(-self|-accessor)?|leases/lookup|wrapping/lookup)"
    r"|auth/token/lookup(-accessor)?|auth/.+/role/[^/]+/secret-id(-accessor)?/lookup"
)
"""Paths whose POST changes nothing: the transport may reuse a connection and send it twice."""


class Sender(Protocol):
    """What sends hvac's requests: an AdminClient."""

    @property
    def address(self) -> str: ...

    @property
    def unauthenticated(self) -> "Sender": ...

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        wrap_ttl: float | None = None,
        changes: bool | None = None,
    ) -> "Response": ...


def hvac_client(client: Sender) -> Any:
    """An hvac.Client whose methods raise what `client.request` raises, and return what hvac's JSONAdapter does."""
    # The address and the token are explicit: hvac would read them from the environment and from ~/.vault-token.
    return hvac.Client(url=client.address, token="", adapter=lambda **_settings: _Adapter(client))


class _Adapter(JSONAdapter):  # type: ignore[misc]  # hvac has no types.
    """Has no requests.Session; address, token, namespace, TLS and timeouts are the transport's."""

    def __init__(self, client: Sender) -> None:
        # JSONAdapter's own constructor would create a session.
        self._client = client
        self._kwargs: dict[str, Any] = {}
        self.base_uri, self.token, self.namespace = client.address, None, None
        self.allow_redirects = self.ignore_exceptions = False
        self.strict_http = self.request_header = True

    @property
    def session(self) -> NoReturn:
        """Raises NotImplementedError: a method that needs a session would bypass the transport."""
        raise NotImplementedError("hvac's raft snapshots bypass its adapter; use AdminClient.stream")

    def close(self) -> None:
        """The transport belongs to the AdminClient."""

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: FBT001, FBT002  # hvac's signature.
        **options: Any,
    ) -> dict[str, Any]:
        """Send one request of hvac's. Raises what AdminClient.request raises: hvac's own texts can hold values."""
        return self._send(self._client, method, url, headers, raise_exception, options)

    def login(self, url: str, use_token: bool = True, **options: Any) -> dict[str, Any]:  # noqa: FBT001, FBT002  # As above.
        """Log in without sending a token. The client's own token stays: pass `use_token=False`."""
        if use_token:
            raise NotImplementedError("an AdminClient has one token; pass use_token=False, and see with_token()")
        return self._send(self._client.unauthenticated, "post", url, None, True, options)

    def _send(
        self,
        client: Sender,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        raise_exception: bool,  # noqa: FBT001  # As above.
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        if headers or not raise_exception or not options.keys() <= _OPTIONS:
            raise NotImplementedError("hvac's method sends what the transport does not; use AdminClient.request")
        # hvac has quoted the path already, and the transport does it again.
        path = unquote(url.removeprefix("/v1/")).strip("/")
        params = {key: _query_value(value) for key, value in (options.get("params") or {}).items()}
        if method == "list":
            method, params = "get", {**params, "list": "true"}
        wrap_ttl = options.get("wrap_ttl")
        answer = client.request(
            method.upper(),
            path,
            body=options.get("json"),
            params=params or None,
            wrap_ttl=None if wrap_ttl is None else float(wrap_ttl),
            changes=False if method == "get" or _READS.fullmatch(path) else None,
        )
        return _json(answer)


def _query_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(answer: "Response") -> dict[str, Any]:
    """The answer as JSONAdapter returns it. What Vault answers without an envelope is the data itself."""
    if not (answer.request_id or answer.wrapping_token):
        return dict(answer.data)
    return {
        "request_id": answer.request_id,
        "lease_id": answer.lease_id,
        "lease_duration": answer.lease_duration,
        "renewable": answer.renewable,
        "data": answer.data,
        "auth": answer.auth or None,
        "wrap_info": {"token": answer.wrapping_token} if answer.wrapping_token else None,
    }
