"""What the answers of Vault mean; its own error texts stay here, since they may repeat what it was sent."""

import socket
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import Any

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct


class Answer(ImmutableStruct, frozen=True):
    """A good answer; the fields as Vault names them. Without a lease the `lease_id` is empty.

    What answers in no envelope, as sys/init and sys/seal-status do, is `data` as a whole.
    """

    hidden = ("data", "auth", "wrapping_token")

    data: Mapping[str, Any]
    auth: Mapping[str, Any]
    lease_id: str = ""
    lease_duration: float = 0
    renewable: bool = False
    capped: bool = False
    """The server warned that it gave less than was asked for, because of a max_ttl."""
    request_id: str = ""
    date: float | None = None
    """When it was sent, in whole seconds since 1970 by the server's clock."""
    wrapping_token: str = ""
    """Of a response-wrapped answer, whose data are behind it."""
    help: str = ""
    """Of a path that was asked for its help."""


class RequestFailedError(Exception):
    """A request failed; `data` holds what a 404 still tells. `by_policy`: the token itself is valid."""

    def __init__(self, failure: Failure, data: Mapping[str, Any] | None = None, *, by_policy: bool = False) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.data = data or {}
        self.by_policy = by_policy


class UnfitFilesError(OSError):
    """The files for TLS can be read, but make no sense, or not together."""


def answer(headers: HTTPMessage, content: bytes) -> Answer:
    """The meaning of a 200 or 204. Raises RequestFailedError where it is not Vault's."""
    try:
        body = msgspec.json.decode(content or b"{}", type=_Body)
    except msgspec.MsgspecError:
        raise RequestFailedError(Failure(Kind.UNAVAILABLE, "the answer is cut or is not Vault's")) from None
    return Answer(
        data=body.data or (_bare(content) if body.request_id is None else {}),
        auth=body.auth or {},
        lease_id=body.lease_id or "",
        lease_duration=body.lease_duration or 0,
        renewable=bool(body.renewable),
        capped=any(_CAPPED in warning for warning in body.warnings or ()),
        request_id=body.request_id or "",
        date=_date(headers),
        wrapping_token=str((body.wrap_info or {}).get("token") or ""),
        help=body.help or "",
    )


def refusal(status: int, headers: HTTPMessage, content: bytes) -> RequestFailedError:
    """The meaning of any other status."""
    if 300 <= status < 400:  # noqa: PLR2004  # The class of redirects.
        text = "it redirects elsewhere, where the token is not taken; name the active node in vault.address"
        return RequestFailedError(Failure(Kind.UNAVAILABLE, text))
    kind = _KINDS.get(status, Kind.UNAVAILABLE if status >= 500 else Kind.INVALID)  # noqa: PLR2004  # Server errors.
    text = meaning(status)
    body = _refused(content)
    said = [error.removeprefix(_ONE_ERROR).strip() for error in body.errors or ()]
    if kind is Kind.NOT_FOUND and (said or any(_NO_SUCH_PATH in warning for warning in body.warnings or ())):
        # An empty list of errors means: nothing there. Words mean: no such path on this server.
        kind = Kind.UNSUPPORTED
    if kind is Kind.INVALID:
        kind, text = next((_SAID[words] for words in said if words in _SAID), (kind, text))
    by_policy = kind is Kind.DENIED and _is_by_policy(body.errors or ())
    return RequestFailedError(Failure(kind, text, _retry_after(headers)), body.data, by_policy=by_policy)


def is_behind(status: int, content: bytes, *, told: bool) -> bool:
    """Whether the node has not reached the state that the request, or its token, asks for.

    `told`: the request named one. OpenBao 2.7.2 then answers 429 without words; HashiCorp Vault 412.
    """
    return status == _BEHIND or (told and status == _LIMITED and _refused(content).errors == [])


def behind(headers: HTTPMessage) -> RequestFailedError:
    """What is told of a server that stays behind."""
    return RequestFailedError(Failure(Kind.UNAVAILABLE, meaning(_BEHIND), _retry_after(headers)))


def meaning(status: int) -> str:
    """A status in words."""
    return _TEXTS.get(status, f"Vault answered {status}")


def describe_connection_error(exc: Exception) -> str:
    """Why no answer came, in words that name no host."""
    match exc:
        case ssl.SSLCertVerificationError():
            return "the server's certificate was not accepted (see vault.ca_file and vault.server_name)"
        case ssl.SSLError():
            return "no TLS connection came about (is it https? does it want a client certificate?)"
        case socket.gaierror():
            return "its name cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer in time"
        case FileNotFoundError() | PermissionError():
            return "a certificate file cannot be read (see vault.ca_file, client_cert_file and client_key_file)"
        case UnfitFilesError():
            return "a certificate file makes no sense (see vault.ca_file; do client_cert_file and client_key_file fit?)"
        case ConnectionError() | HTTPException():
            return "the connection broke"
        case _:
            return f"the request failed ({type(exc).__name__})"


_BEHIND = 412
_LIMITED = 429
_TEXTS = {
    400: "Vault refused the request (400)",
    403: "permission denied (403)",
    404: "it is not there (404)",
    405: "the server has no such endpoint (405)",
    412: "the server is behind (412)",
    429: "asked too often (429)",
    472: "the node is a disaster-recovery standby (472)",
    473: "the node is a performance standby (473)",
    500: "Vault failed at this path (500): is what stands behind it well?",
    501: "Vault is not initialised (501)",
    502: "a proxy has no Vault behind it (502)",
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
_GONE = (Kind.NOT_FOUND, "the lease is gone")
_NOT_RENEWABLE = (Kind.UNSUPPORTED, "the lease is not renewable")
_ONE_ERROR = "1 error occurred:\n\t* "
# Errors of vault/expiration.go; all come with a 400.
_SAID = {
    "lease not found": _GONE,
    "invalid lease": _GONE,
    "lease expired": _GONE,
    "lease is not renewable": _NOT_RENEWABLE,
    "lease is not renewable and has failed previous revocation attempts": _NOT_RENEWABLE,
}
# HashiCorp Vault says so, without an error, of what its KV v2 does not know, such as detailed-metadata.
_NO_SUCH_PATH = "Invalid path for a versioned K/V secrets engine"
# Of `TTL of "9h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly`, measured on OpenBao 2.7.2
# at issue, at renewal and at login. The PKI engine has other words, but its leases are never renewable.
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


class _Refused(msgspec.Struct):
    errors: list[str] | None = None
    data: dict[str, Any] | None = None
    warnings: list[str] | None = None


def _bare(content: bytes) -> dict[str, Any]:
    return msgspec.json.decode(content or b"{}", type=dict[str, Any])


def _refused(content: bytes) -> _Refused:
    try:
        return msgspec.json.decode(content, type=_Refused)
    except msgspec.MsgspecError:
        return _Refused()


def _is_by_policy(errors: list[str] | tuple[()]) -> bool:
    # To a token that is not valid OpenBao says a bare "permission denied"; HashiCorp Vault lists two errors.
    return any(error.startswith(_ONE_ERROR) for error in errors)


def _retry_after(headers: HTTPMessage) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _date(headers: HTTPMessage) -> float | None:
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return None
