"""Logging in as a job of CI: with a JWT in a variable, or with one that GitHub makes on demand."""

import base64
import hashlib
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.vault.auth.login import Clock, Grant, log_in
from lessee.vault.connections import Address, Connections
from lessee.vault.responses import RequestFailedError, describe_connection_error
from lessee.vault.transport import CONNECT_TIMEOUT, READ_TIMEOUT, Transport

URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105  # The variable's name.
_OK, _SERVERS_OWN, _LIMITED = 200, 500, 429
_TOLD = ("sub", "aud")


class Source(Protocol):
    """Where the JWT comes from; `name` says it in words."""

    name: str

    def jwt(self) -> str:
        """Raises RequestFailedError."""

    def mark(self) -> bytes:
        """Changes when what it is made of does."""


class JobLogin:
    """One request with a JWT, which is fetched anew each time."""

    def __init__(self, path: str, body: Mapping[str, str], source: Source) -> None:
        self._path = path
        self._body = body
        self._source = source

    def login(self, transport: Transport, clock: Clock) -> Grant:
        jwt = self._source.jwt()
        settings = "".join(f", {key} {value}" for key, value in self._body.items())
        refused = f"Vault does not accept {self._source.name} at {self._path}{settings}{_claims(jwt)}"
        return log_in(transport, self._path, {**self._body, "jwt": jwt}, clock, refused=refused)

    def mark(self) -> bytes:
        return self._source.mark()


class Variable:
    """A JWT that stands in the agent's environment, as GitLab's `id_tokens:` puts it there."""

    def __init__(self, variable: str, environ: Mapping[str, str]) -> None:
        self.name = f"the JWT in ${variable}"
        self._variable = variable
        self._environ = environ

    def jwt(self) -> str:
        value = self._environ.get(self._variable, "").strip()
        if not value:
            todo = "have the job make it, for GitLab under `id_tokens:`"
            raise RequestFailedError(Failure(Kind.DENIED, f"there is no JWT: ${self._variable} is not set; {todo}"))
        return value

    def mark(self) -> bytes:
        return hashlib.sha256(self._environ.get(self._variable, "").encode()).digest()


class GitHub:
    """A JWT that GitHub makes for a job, good for some minutes.

    https://docs.github.com/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
    """

    name = "GitHub's JWT for this job"

    def __init__(self, environ: Mapping[str, str], audience: str | None, proxy: str | None) -> None:
        self._environ = environ
        self._audience = audience
        self._proxy = proxy

    def jwt(self) -> str:
        url, token = (self._environ.get(name, "").strip() for name in (URL, _TOKEN))
        if not url or not token:
            todo = "write `permissions: {id-token: write}` over the job; a fork's pull request is given none"
            missing = URL if not url else _TOKEN
            raise RequestFailedError(
                Failure(Kind.DENIED, f"GitHub makes no JWT for this job: ${missing} is not set; {todo}")
            )
        status, content = self._ask(url, token)
        if status != _OK:
            kind = Kind.UNAVAILABLE if status >= _SERVERS_OWN or status == _LIMITED else Kind.DENIED
            raise RequestFailedError(Failure(kind, f"GitHub makes no JWT for this job: it answered {status}"))
        try:
            return msgspec.json.decode(content, type=_Made).value
        except msgspec.MsgspecError:
            raise RequestFailedError(
                Failure(Kind.UNAVAILABLE, "GitHub makes no JWT: its answer is cut, or another's")
            ) from None

    def mark(self) -> bytes:
        return hashlib.sha256("\0".join(self._environ.get(name, "") for name in (URL, _TOKEN)).encode()).digest()

    def _ask(self, url: str, token: str) -> tuple[int, bytes]:
        query = urlsplit(url).query
        if self._audience is not None:
            query = f"{query}&audience={quote(self._audience, safe='')}"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json; api-version=2.0"}
        try:
            connection = Connections(Address(url, proxy=self._proxy)).open(url, timeout=CONNECT_TIMEOUT)
            try:
                response, content = connection.exchange("GET", f"?{query}", None, headers, READ_TIMEOUT)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError:
            text = "GitHub, which makes the JWT, has a certificate that is not accepted; $SSL_CERT_FILE names other CAs"
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, text)) from None
        except (OSError, HTTPException) as exc:
            raise RequestFailedError(
                Failure(Kind.UNAVAILABLE, f"GitHub, which makes the JWT: {describe_connection_error(exc)}")
            ) from None
        except ValueError:
            raise RequestFailedError(Failure(Kind.DENIED, f"what ${URL} or ${_TOKEN} holds cannot be sent")) from None
        return response.status, content


class _Made(msgspec.Struct):
    value: str


def _claims(jwt: str) -> str:
    """What a role most often binds, as the JWT has it: that is no secret, and mostly why it was refused."""
    payload = [*jwt.split("."), ""][1]
    try:
        claims: dict[str, Any] = msgspec.json.decode(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=dict
        )
    except (ValueError, msgspec.MsgspecError):
        return "; it is none"
    return "; it says " + ", ".join(f"{name} {claims.get(name)!r}" for name in _TOLD)
