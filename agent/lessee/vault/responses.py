"""Parses Vault's answers. Vault's own error texts stay in this module, because they may repeat what the client sent."""

import socket
from collections.abc import Mapping
from typing import Any

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.vault.wire import InvalidResponseError

_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not the expected JSON; the last for thousands of nested lists."""


class Response(ImmutableStruct, frozen=True):
    """A successful answer, with Vault's names of the fields. Without a lease the `lease_id` is empty.

    If an answer has no envelope, such as that of sys/init or sys/seal-status, `data` is the whole answer.
    """

    hidden = ("data", "auth", "wrapping_token")

    data: Mapping[str, Any]
    auth: Mapping[str, Any]
    lease_id: str = ""
    lease_duration: float = 0
    renewable: bool = False
    capped: bool = False
    """The server warned that a max_ttl has shortened the ttl."""
    request_id: str = ""
    date_header: str = ""
    wrapping_token: str = ""
    """The wrapping token of a response-wrapped answer, which has no data."""
    help: str = ""
    """The help text of a path, if the request asked for it."""

    @property
    def date(self) -> float | None:
        """The server's clock, in whole seconds since 1970; None if it did not say."""
        from email.utils import parsedate_to_datetime  # noqa: PLC0415  # Few answers are read for their date.

        try:
            return parsedate_to_datetime(self.date_header).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):  # The library's parser raises any of them.
            return None


class RequestFailedError(Exception):
    """A request failed. `data`: the data of a 404. `by_policy`: the token itself is valid."""

    def __init__(self, failure: Failure, data: Mapping[str, Any] | None = None, *, by_policy: bool = False) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.data = data or {}
        self.by_policy = by_policy


class InvalidTlsFilesError(OSError):
    """The TLS files are readable, but invalid or not a pair."""


def parse_response(headers: Mapping[str, str], content: bytes) -> Response:
    """Parse a 200 or 204. Raises RequestFailedError if it is not Vault's."""
    try:
        body = msgspec.json.decode(content or b"{}", type=_Body)
        data = body.data or (_parse_bare(content) if body.request_id is None else {})
    except _MALFORMED:
        raise RequestFailedError(_NOT_VAULTS) from None
    return Response(
        data=data,
        auth=body.auth or {},
        lease_id=body.lease_id or "",
        lease_duration=body.lease_duration or 0,
        renewable=bool(body.renewable),
        capped=any(_CAPPED in warning for warning in body.warnings or ()),
        request_id=body.request_id or "",
        date_header=headers.get("date", ""),
        wrapping_token=str((body.wrap_info or {}).get("token") or ""),
        help=body.help or "",
    )


def raw_data(content: bytes) -> bytes:
    """The `data` of a 200, as JSON. Raises RequestFailedError if the answer is not Vault's."""
    try:
        return bytes(_DECODE_RAW(content).data)
    except _MALFORMED:
        raise RequestFailedError(_NOT_VAULTS) from None


def parse_raw_data(raw: bytes) -> dict[str, Any]:
    """What `raw_data` returned, as objects. Raises RequestFailedError."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except _MALFORMED:
        raise RequestFailedError(_NOT_VAULTS) from None


def parse_error(status: int, headers: Mapping[str, str], content: bytes) -> RequestFailedError:
    """The failure that any other status means."""
    if 300 <= status < 400:  # noqa: PLR2004  # The class of redirects.
        text = "the server redirects, and the token is not sent elsewhere; set vault.address to the active node"
        return RequestFailedError(Failure(Kind.UNAVAILABLE, text))
    kind = _KINDS.get(status, Kind.UNAVAILABLE if status >= 500 else Kind.INVALID)  # noqa: PLR2004  # Server errors.
    text = describe_status(status)
    body = _parse_error_body(content)
    texts = [error.removeprefix(_ONE_ERROR).strip() for error in body.errors or ()]
    if kind is Kind.NOT_FOUND and (texts or any(_NO_SUCH_PATH in warning for warning in body.warnings or ())):
        # An empty list of errors means that there is nothing; a text means that the server has no such path.
        kind = Kind.UNSUPPORTED
    if kind is Kind.INVALID:
        kind, text = next((_LEASE_ERRORS[error] for error in texts if error in _LEASE_ERRORS), (kind, text))
    by_policy = kind is Kind.DENIED and _is_policy_denial(body.errors or ())
    return RequestFailedError(Failure(kind, text, _retry_after(headers)), body.data, by_policy=by_policy)


def is_stale(status: int, content: bytes, *, expects_state: bool) -> bool:
    """Whether the node has not yet reached the state that the request, or its token, requires.

    `expects_state`: the request named a state. OpenBao 2.7.2 then answers 429 without a text, and HashiCorp Vault 412.
    """
    return status == _BEHIND or (expects_state and status == _LIMITED and _parse_error_body(content).errors == [])


def stale_error(headers: Mapping[str, str]) -> RequestFailedError:
    """The failure of a node that does not catch up."""
    return RequestFailedError(Failure(Kind.UNAVAILABLE, describe_status(_BEHIND), _retry_after(headers)))


def describe_status(status: int) -> str:
    """A text for a status."""
    return _TEXTS.get(status, f"Vault answered {status}")


def describe_connection_error(exc: Exception) -> str:
    """Why there is no answer, in a text without a host name."""
    import ssl  # noqa: PLC0415  # Only failures need it where the connection has no TLS.

    match exc:
        case ssl.SSLCertVerificationError():
            return "the server's certificate is not trusted (see vault.ca_file and vault.tls_server_name)"
        case ssl.SSLError():
            return "the TLS handshake failed (does the server use https? does it require a client certificate?)"
        case socket.gaierror():
            return "the host name cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer in time"
        case FileNotFoundError() | PermissionError():
            return "a certificate file cannot be read (see vault.ca_file, client_cert_file and client_key_file)"
        case InvalidTlsFilesError():
            return "a certificate file is invalid (see vault.ca_file; do client_cert_file and client_key_file match?)"
        case ConnectionError() | InvalidResponseError():
            return "the connection broke"
        case _:
            return f"the request failed ({type(exc).__name__})"


_NOT_VAULTS = Failure(Kind.UNAVAILABLE, "the answer is truncated or not Vault's")
_BEHIND = 412
_LIMITED = 429
_TEXTS = {
    400: "Vault refused the request (400)",
    403: "permission denied (403)",
    404: "not found (404)",
    405: "the server has no such endpoint (405)",
    412: "the node has not caught up (412)",
    429: "rate limit exceeded (429)",
    472: "the node is a disaster-recovery standby (472)",
    473: "the node is a performance standby (473)",
    500: "Vault failed at this path (500); check the system behind it, and the server's log",
    501: "Vault is not initialized (501)",
    502: "a proxy cannot reach Vault (502)",
    503: "Vault is sealed or in maintenance (503)",
    504: "a proxy got no answer from Vault (504)",
}
_KINDS = {
    400: Kind.INVALID,
    403: Kind.DENIED,
    404: Kind.NOT_FOUND,
    405: Kind.UNSUPPORTED,
    412: Kind.UNAVAILABLE,
    429: Kind.RATE_LIMITED,
    472: Kind.UNAVAILABLE,
    473: Kind.UNAVAILABLE,
    500: Kind.PATH_ERROR,
}
_LEASE_ENDED = (Kind.NOT_FOUND, "the lease has ended")
_NOT_RENEWABLE = (Kind.UNSUPPORTED, "the lease is not renewable")
_ONE_ERROR = "1 error occurred:\n\t* "
# Errors of vault/expiration.go; all have the status 400.
_LEASE_ERRORS = {
    "lease not found": _LEASE_ENDED,
    "invalid lease": _LEASE_ENDED,
    "lease expired": _LEASE_ENDED,
    "lease is not renewable": _NOT_RENEWABLE,
    "lease is not renewable and has failed previous revocation attempts": _NOT_RENEWABLE,
}
# HashiCorp Vault's warning, without an error, at an endpoint that its KV v2 lacks, such as detailed-metadata.
_NO_SUCH_PATH = "Invalid path for a versioned K/V secrets engine"
# From `TTL of "9h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly`, seen on OpenBao 2.7.2
# at issue, at renewal and at login. The PKI engine has another text, but its leases are never renewable.
_CAPPED = "exceeded the effective max_ttl"


class _Body(msgspec.Struct):
    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    lease_id: str | None = None
    lease_duration: float | None = None
    renewable: bool | None = None
    request_id: str | None = None
    warnings: list[str] | None = None
    wrap_info: dict[str, Any] | None = None
    help: str | None = None


class _RawBody(msgspec.Struct):
    data: msgspec.Raw


_DECODE_RAW = msgspec.json.Decoder(_RawBody).decode


class _ErrorBody(msgspec.Struct):
    errors: list[str] | None = None
    data: dict[str, Any] | None = None
    warnings: list[str] | None = None


def _parse_bare(content: bytes) -> dict[str, Any]:
    return msgspec.json.decode(content or b"{}", type=dict[str, Any])


def _parse_error_body(content: bytes) -> _ErrorBody:
    try:
        return msgspec.json.decode(content, type=_ErrorBody)
    except _MALFORMED:
        return _ErrorBody()


def _is_policy_denial(errors: list[str] | tuple[()]) -> bool:
    # For a token that is not valid, OpenBao answers a bare "permission denied"; HashiCorp Vault lists two errors.
    return any(error.startswith(_ONE_ERROR) for error in errors)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None
