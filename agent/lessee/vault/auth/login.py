"""Logs in to Vault, and looks up and renews the token that results."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.tokens import EMERGENCY_KEY, Token
from lessee.vault.responses import SMALL, parse_name
from lessee.vault.transport import RequestFailedError, Response, Transport
from lessee.vault.ttl import token_ttl

Clock = Callable[[], float]
RARELY = "the agent logs in again when a file changes, and otherwise rarely"
FORBIDDEN = (
    "the answer was 403, which names no credentials: the mount or the namespace may not exist, or an outage, a proxy or"
    " a lockout is the cause; the agent logs in again within a minute"
)


class Grant(ImmutableStruct, frozen=True):
    """A token and its value."""

    hidden = ("value",)

    value: str
    token: Token


class AuthMethod(Protocol):
    """An auth method."""

    def login(self, transport: Transport, clock: Clock) -> Grant:
        """Raises RequestFailedError."""

    def fingerprint(self) -> bytes:
        """A hash that changes when the credentials do, and reveals nothing about them."""


def token_id(value: str) -> str:
    """The agent's own id for a token: stable across restarts, unique for each token, and not reversible."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def look_up(transport: Transport, value: str, clock: Clock, *, ours: bool = True) -> Token:
    """What Vault says about a token. Raises RequestFailedError (DENIED: it is not valid)."""
    sent_at = clock()
    todo = "the token may not look itself up; grant it read on auth/token/lookup-self"
    answer = _request_own_token(transport, "GET", "auth/token/lookup-self", value, todo)
    data = answer.data
    return Token(
        accessor=parse_name(data.get("accessor")),
        sent_at=sent_at,
        ttl=token_ttl(data.get("ttl")),
        renewable=data.get("renewable") is True,
        id=token_id(value),
        ours=ours,
        uses=_uses(data.get("num_uses")),
        # The client that made a token of a file has chosen its metadata.
        emergency_at=_emergency_at(data.get("meta")) if ours else 0.0,
        request_id=answer.request_id[:_MAX_ID],
    )


def renew(transport: Transport, value: str, clock: Clock, *, ours: bool = True) -> Token:
    """Renew a token by its own ttl. Raises RequestFailedError."""
    sent_at = clock()
    todo = "the token may not renew itself; grant it update on auth/token/renew-self"
    answer = _request_own_token(transport, "POST", "auth/token/renew-self", value, todo)
    return _token(answer, value, sent_at, ours=ours)


class TokenCheck:
    """Asks whether a token is valid: by a look-up, and the next time by a renewal if that path had no answer."""

    def __init__(self) -> None:
        self._renews = False

    def check(self, transport: Transport, value: str, clock: Clock, *, ours: bool) -> Token:
        """Raises RequestFailedError (DENIED: it is not valid; UNSUPPORTED: it is, but its ttl is not known)."""
        try:
            return (renew if self._renews else look_up)(transport, value, clock, ours=ours)
        except RequestFailedError as exc:
            if exc.failure.kind in {Kind.UNAVAILABLE, Kind.PATH_ERROR}:
                self._renews = not self._renews
            elif self._renews and exc.failure.kind is Kind.INVALID:
                raise RequestFailedError(Failure(Kind.UNSUPPORTED, "the token is not renewable")) from None
            raise


def log_in(  # Each of them belongs to one login.
    transport: Transport,
    path: str,
    body: Mapping[str, Any],
    clock: Clock,
    *,
    denied: str,
    again: str = "",
    headers: Mapping[str, str] | None = None,
) -> Grant:
    """Post credentials. Raises RequestFailedError, with the text `denied` if Vault denies them, and with `again`, which
    says when the agent repeats the login, if the credentials are why.
    """
    sent_at = clock()
    try:
        answer = transport.request("POST", path, token=None, body=body, limits=SMALL, headers=headers)
    except RequestFailedError as exc:
        match exc.failure.kind:
            case Kind.INVALID:
                text = f"{denied}; {again}" if again else denied
                raise RequestFailedError(Failure(Kind.DENIED, text)) from None
            case Kind.DENIED if exc.foreign:
                raise RequestFailedError(_FOREIGN_DENIAL) from None
            case Kind.DENIED:
                raise RequestFailedError(Failure(Kind.FORBIDDEN, f"{denied}; {FORBIDDEN}")) from None
            case _:
                raise
    return grant_of(answer, path, sent_at)


def grant_of(answer: Response, path: str, sent_at: float) -> Grant:
    """The token in the answer to a login. Raises RequestFailedError if the answer has no token."""
    value = parse_name(answer.auth.get("client_token"))
    if not value:
        text = f"the login at {path} returned no token; if it requires a second factor (MFA), use another auth method"
        raise RequestFailedError(Failure(Kind.INVALID, text))
    return Grant(value, _token(answer, value, sent_at))


class TokenLogin:
    """A token from a file, which is read again at each login, or from $VAULT_TOKEN."""

    def __init__(self, file: str | None, environ: Mapping[str, str]) -> None:
        self._file = file
        self._environ = environ
        self._check = TokenCheck()

    def value(self) -> str:
        """The token, without a request to Vault. Raises RequestFailedError."""
        value = read_credential_file(self._file) if self._file else self._environ.get("VAULT_TOKEN", "").strip()
        if not value:
            raise RequestFailedError(
                Failure(Kind.DENIED, "there is no token: $VAULT_TOKEN is not set, and neither is vault.auth.token_file")
            )
        return value

    def login(self, transport: Transport, clock: Clock) -> Grant:
        value = self.value()
        try:
            return Grant(value, self._check.check(transport, value, clock, ours=False))
        except RequestFailedError as exc:
            match exc.failure.kind:
                case Kind.UNSUPPORTED:
                    # It is valid, but its ttl is unknown: the agent uses it until Vault denies it.
                    token = Token("", clock(), ttl=0.0, renewable=False, id=token_id(value), ours=False)
                    return Grant(value, token)
                case Kind.DENIED:
                    where = self._file or "$VAULT_TOKEN"
                    # What Vault answers to an invalid token, a proxy may answer to any.
                    text = (
                        f"the token in {where} is not valid, or a proxy answers 403; it is sent again within a minute"
                    )
                    raise RequestFailedError(Failure(Kind.FORBIDDEN, text)) from None
                case _:
                    raise

    def fingerprint(self) -> bytes:
        return fingerprint(self._file)


class RefusedLogin:
    """No login: the configuration does not name this Vault and its credentials, only a record in `state_dir` does."""

    def login(self, transport: Transport, clock: Clock) -> Grant:
        del transport, clock
        text = "not logged in: the configuration has this login no more; its leases end with their token"
        raise RequestFailedError(Failure(Kind.DENIED, text))

    def fingerprint(self) -> bytes:
        return b""


def read_credential_file(file: str) -> str:
    """The contents of a file, without surrounding white space. Raises RequestFailedError, also for an empty file."""
    try:
        content = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise RequestFailedError(Failure(Kind.DENIED, f"cannot read {file}: {reason}")) from None
    if not content:
        raise RequestFailedError(Failure(Kind.DENIED, f"{file} is empty"))
    return content


def check_readable(file: str) -> None:
    """Raises RequestFailedError if the file cannot be read; some libraries' own errors do not name it."""
    try:
        with Path(file).open("rb"):
            pass
    except OSError as exc:
        raise RequestFailedError(Failure(Kind.DENIED, f"cannot read {file}: {exc.strerror}")) from None


def fingerprint(*files: str | None) -> bytes:
    """A hash of the contents; a file that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for file in files:
        with suppress(OSError):
            digest.update(Path(file).read_bytes() if file else b"")
        digest.update(b"\0")
    return digest.digest()


_MAX_ID = 64
"""Characters of a request's id, which has 36."""
_FOREIGN_DENIAL = Failure(Kind.UNAVAILABLE, "the answer is 403, but not Vault's: a proxy in between denies the request")


def _request_own_token(transport: Transport, method: str, path: str, value: str, todo: str) -> Response:
    try:
        body: Mapping[str, str] | None = {} if method == "POST" else None
        return transport.request(method, path, token=value, body=body, limits=SMALL)
    except RequestFailedError as exc:
        if exc.failure.kind is Kind.DENIED and exc.by_policy:
            raise RequestFailedError(Failure(Kind.UNSUPPORTED, todo)) from None
        if exc.failure.kind is Kind.DENIED and exc.foreign:
            # Taken for Vault's, it would end the token and its leases.
            raise RequestFailedError(_FOREIGN_DENIAL) from None
        raise


def _token(answer: Response, value: str, sent_at: float, *, ours: bool = True) -> Token:
    auth = answer.auth
    return Token(
        accessor=parse_name(auth.get("accessor")),
        sent_at=sent_at,
        ttl=token_ttl(auth.get("lease_duration")),
        renewable=auth.get("renewable") is True and not answer.capped,
        id=token_id(value),
        ours=ours,
        uses=_uses(auth.get("num_uses")),
        emergency_at=_emergency_at(auth.get("metadata")),
        request_id=answer.request_id[:_MAX_ID],
    )


def _emergency_at(metadata: object) -> float:
    text = metadata.get(EMERGENCY_KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(text, str):
        return 0.0
    from lessee.core.timestamps import parse_timestamp  # noqa: PLC0415  # Few logins follow an emergency.

    return max(0.0, parse_timestamp(text) or 0.0)


def _uses(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
