"""Parses Vault's answers. Vault's own error texts stay in this module, because they may repeat what the client sent."""

import re
import socket
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.vault.connections import MAX_RESPONSE_SIZE, MAX_SMALL_RESPONSE_SIZE
from lessee.vault.wire import InvalidResponseError, TooLargeResponseError

_T = TypeVar("_T")
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, or nested too deeply."""


class Response(ImmutableStruct, frozen=True):
    """A successful answer, with Vault's names of the fields. Without a lease the `lease_id` is empty.

    If an answer has no envelope, such as that of sys/init or sys/seal-status, `data` is the whole answer.
    """

    hidden = ("data", "auth", "wrapping_token")

    data: Mapping[str, Any]
    auth: Mapping[str, Any]
    lease_id: str = ""
    lease_duration: object = 0
    """In seconds, as the server wrote it: see core/ttl.py."""
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
    """A request failed. `data`: the data of a 404. `by_policy`: the token itself is valid. `foreign`: the answer had an
    error's status, but not Vault's form.
    """

    def __init__(
        self,
        failure: Failure,
        data: Mapping[str, Any] | None = None,
        *,
        by_policy: bool = False,
        foreign: bool = False,
    ) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.data = data or {}
        self.by_policy = by_policy
        self.foreign = foreign


class InvalidTlsFilesError(OSError):
    """The TLS files are readable, but invalid or not a pair."""

    def __init__(self, *, is_in_tpm: bool) -> None:
        super().__init__()
        self.is_in_tpm = is_in_tpm
        """The key is a TPM's, which OpenSSL uses only with a provider."""


class Limits(ImmutableStruct, frozen=True):
    """How large one kind of answer may be. A value of three bytes takes up to 240 in memory."""

    size: int
    """Bytes."""
    values: int
    """JSON values."""


SMALL = Limits(MAX_SMALL_RESPONSE_SIZE, 50_000)
"""An error, or an answer about a token or a lease."""
SECRET = Limits(9 * 2**20, 50_000)
"""A little more than a secret may have, so that the error about its size names it. Vault stores 1 MiB by default."""
LISTING = Limits(16 * 2**20, 600_000)
"""More than ten thousand secrets of a folder, with the metadata of each."""
ANY = Limits(MAX_RESPONSE_SIZE, 1_000_000)
"""What an operator's command reads. Vault accepts no larger request, so a larger answer is not Vault's."""


def parse_response(headers: Mapping[str, str], content: bytes, limits: Limits = SMALL) -> Response:
    """Parse a 200 or 204. Raises RequestFailedError if it has more values than allowed, or is not Vault's."""
    _check_values(content, limits)
    try:
        body = msgspec.json.decode(content or b"{}", type=_Body)
        bare = _parse_bare(content) if not body.data and body.request_id is None else {}
    except DECODE_ERRORS:
        raise RequestFailedError(_NOT_VAULTS) from None
    return Response(
        data=body.data or bare,
        auth=body.auth or {},
        lease_id=body.lease_id or "",
        lease_duration=body.lease_duration,
        renewable=body.renewable is True,
        capped=any(_CAPPED in warning for warning in body.warnings or ()),
        request_id=body.request_id or "",
        date_header=headers.get("date", ""),
        wrapping_token=str((body.wrap_info or {}).get("token") or ""),
        help=body.help or "",
    )


def parse_name(value: object) -> str:
    """A token, accessor or lease_id; empty if it is missing. Raises RequestFailedError if it is not Vault's."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_NAME_LENGTH:
        raise RequestFailedError(_NOT_VAULTS)
    return value


def raw_data(content: bytes) -> bytes:
    """The `data` of a 200, as JSON. Raises RequestFailedError if the answer is not Vault's."""
    try:
        return bytes(_DECODE_RAW(content).data)
    except DECODE_ERRORS:
        raise RequestFailedError(_NOT_VAULTS) from None


def parse_raw_data(raw: bytes, type_: type[_T]) -> _T:
    """What `raw_data` returned, as objects of this type; other fields take no memory. Raises RequestFailedError."""
    _check_values(raw, LISTING)
    try:
        return msgspec.json.decode(raw, type=type_)
    except DECODE_ERRORS:
        raise RequestFailedError(_NOT_VAULTS) from None


def too_large_error(exc: TooLargeResponseError) -> RequestFailedError:
    """The failure of an answer that is larger than it may be."""
    return RequestFailedError(Failure(Kind.INVALID, f"the answer is larger than {exc.limit >> 20} MiB"))


def parse_error(
    status: int, headers: Mapping[str, str], content: bytes, namespace: str | None = None
) -> RequestFailedError:
    """The failure that any other status means. `namespace`: of the request."""
    if 300 <= status < 400:  # noqa: PLR2004  # The class of redirects.
        text = "the server redirects, and the token is not sent elsewhere; set vault.address to the active node"
        return RequestFailedError(Failure(Kind.UNAVAILABLE, text))
    kind = _KINDS.get(status, Kind.UNAVAILABLE if status >= 500 else Kind.INVALID)  # noqa: PLR2004  # Server errors.
    text = describe_status(status)
    found = _parse_error_body(content)
    body = found or _ErrorBody()
    texts = [error.removeprefix(_ONE_ERROR).strip() for error in body.errors or ()]
    if kind is Kind.NOT_FOUND and (texts or any(_NO_SUCH_PATH in warning for warning in body.warnings or ())):
        # An empty list of errors means that there is nothing; a text means that the server has no such path.
        kind = Kind.UNSUPPORTED
        if _NO_SUCH_NAMESPACE in texts:
            text = f"the server has no namespace {namespace} (404); correct vault.namespace"
    if kind is Kind.INVALID:
        kind, text = next((_ERRORS[error] for error in texts if error in _ERRORS), (kind, text))
    by_policy = kind is Kind.DENIED and _is_policy_denial(body.errors or ())
    failure = Failure(kind, text, _retry_after(headers))
    return RequestFailedError(failure, body.data, by_policy=by_policy, foreign=found is None)


def is_stale(status: int, content: bytes, *, expects_state: bool) -> bool:
    """Whether the node has not yet reached the state that the request, or its token, requires.

    `expects_state`: the request named a state. OpenBao 2.7.2 then answers 429 without a text, and HashiCorp Vault 412.
    """
    return status == _BEHIND or (expects_state and status == _LIMITED and _has_no_error(content))


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
        case InvalidTlsFilesError(is_in_tpm=True):
            text = "the client key cannot be used: it is in a TPM (does $OPENSSL_CONF load the provider tpm2, and may "
            return f"{text}this user open /dev/tpmrm0?)"
        case InvalidTlsFilesError():
            return "a certificate file is invalid (see vault.ca_file; do client_cert_file and client_key_file match?)"
        case ConnectionError() | InvalidResponseError():
            return "the connection broke"
        case _:
            return f"the request failed ({type(exc).__name__})"


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_RETRY_AFTER = re.compile("[0-9]{1,18}")
_MAX_NAME_LENGTH = 8192
"""Characters. Vault's longest are batch tokens."""
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
HEALTH_TEXTS = {
    501: "Vault is not initialized (503); `lessee setup --init DIR` initializes it",
    503: "Vault is sealed (503); `lessee setup --unseal DIR`, or `bao operator unseal`, unseals it",
}
"""What it means that a server cannot serve, by the status of its sys/health."""
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
# Errors of vault/expiration.go and, of a login that a person confirms, of RFC 8628; all have the status 400.
_ERRORS = {
    "authorization_pending": (Kind.PENDING, "the login is not confirmed yet"),
    "slow_down": (Kind.RATE_LIMITED, "the login is polled too often"),
    "lease not found": _LEASE_ENDED,
    "invalid lease": _LEASE_ENDED,
    "lease expired": _LEASE_ENDED,
    "lease is not renewable": _NOT_RENEWABLE,
    "lease is not renewable and has failed previous revocation attempts": _NOT_RENEWABLE,
}
_NO_SUCH_NAMESPACE = "namespace not found"  # OpenBao 2.7.2, at every path.
# HashiCorp Vault's warning, without an error, at an endpoint that its KV v2 lacks, such as detailed-metadata.
_NO_SUCH_PATH = "Invalid path for a versioned K/V secrets engine"
# From `TTL of "9h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly`, seen on OpenBao 2.7.2
# at issue, at renewal and at login. The PKI engine has another text, but its leases are never renewable.
_CAPPED = "exceeded the effective max_ttl"


class _Body(msgspec.Struct):
    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    lease_id: str | None = None
    lease_duration: Any = None
    renewable: Any = None
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


def _check_values(content: bytes, limits: Limits) -> None:
    """Raises RequestFailedError if JSON has more values than that: parsed, they would take far more memory."""
    if len(content) <= limits.values or _count_separators(content, 0, len(content)) < limits.values:
        return
    # Strings may have commas and brackets as well.
    count = end = 0
    for text in _STRING.finditer(content):
        count += _count_separators(content, end, text.start())
        end = text.end()
        if count >= limits.values:
            break
    if count + _count_separators(content, end, len(content)) >= limits.values:
        raise RequestFailedError(Failure(Kind.INVALID, f"the answer has more than {limits.values:,} values"))


def _count_separators(content: bytes, start: int, end: int) -> int:
    return sum(content.count(sign, start, end) for sign in (b",", b"[", b"{"))


def _parse_bare(content: bytes) -> dict[str, Any]:
    return msgspec.json.decode(content or b"{}", type=dict[str, Any])


def _has_no_error(content: bytes) -> bool:
    body = _parse_error_body(content)
    return body is not None and body.errors == []


def _parse_error_body(content: bytes) -> _ErrorBody | None:
    """None if it is not Vault's."""
    try:
        _check_values(content, SMALL)
        return msgspec.json.decode(content, type=_ErrorBody)
    except (*DECODE_ERRORS, RequestFailedError):
        return None


def _is_policy_denial(errors: list[str] | tuple[()]) -> bool:
    # For a token that is not valid, OpenBao answers a bare "permission denied"; HashiCorp Vault lists two errors.
    return any(error.startswith(_ONE_ERROR) for error in errors)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if _RETRY_AFTER.fullmatch(value) else None
