"""Logs in with a JWT that is in no file: from a variable, from a program, or requested from GitHub in a CI job."""

import base64
import hashlib
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.vault.auth.login import Clock, Grant, log_in
from lessee.vault.connections import Address, Connector
from lessee.vault.responses import DECODE_ERRORS, RequestFailedError, describe_connection_error
from lessee.vault.transport import CONNECT_TIMEOUT, READ_TIMEOUT, Transport
from lessee.vault.wire import InvalidResponseError

if TYPE_CHECKING:
    from lessee.vault.auth.credential_command import CredentialCommand

URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105  # The variable's name.
_OK, _SERVER_ERROR, _LIMITED = 200, 500, 429
_REPORTED_CLAIMS = ("sub", "aud")


class JwtSource(Protocol):
    """The origin of the JWT; `name` describes it in error texts."""

    name: str

    def jwt(self) -> str:
        """Raises RequestFailedError."""

    def fingerprint(self) -> bytes:
        """A hash that changes when the inputs of the JWT do."""


class CiLogin:
    """A login with a JWT, which is fetched again at each login."""

    def __init__(self, path: str, body: Mapping[str, str], source: JwtSource) -> None:
        self._path = path
        self._body = body
        self._source = source

    def login(self, transport: Transport, clock: Clock) -> Grant:
        jwt = self._source.jwt()
        settings = "".join(f", {key} {value}" for key, value in self._body.items())
        denied = f"Vault does not accept {self._source.name} at {self._path}{settings}{describe_claims(jwt)}"
        return log_in(transport, self._path, {**self._body, "jwt": jwt}, clock, denied=denied)

    def fingerprint(self) -> bytes:
        return self._source.fingerprint()


class VariableJwt:
    """A JWT in the agent's environment, where GitLab's `id_tokens:` puts it."""

    def __init__(self, variable: str, environ: Mapping[str, str]) -> None:
        self.name = f"the JWT in ${variable}"
        self._variable = variable
        self._environ = environ

    def jwt(self) -> str:
        value = self._environ.get(self._variable, "").strip()
        if not value:
            todo = "add it to the job; in GitLab, under `id_tokens:`"
            raise RequestFailedError(Failure(Kind.DENIED, f"there is no JWT: ${self._variable} is not set; {todo}"))
        return value

    def fingerprint(self) -> bytes:
        return hashlib.sha256(self._environ.get(self._variable, "").encode()).digest()


class CommandJwt:
    """A JWT that a program prints."""

    def __init__(self, command: "CredentialCommand") -> None:
        self.name, self.jwt, self.fingerprint = command.name, command.credential, command.fingerprint


class GitHubJwt:
    """A JWT that GitHub issues for a job; it is valid for a few minutes.

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
            todo = "add `permissions: {id-token: write}` to the job; pull requests from forks get no JWT"
            missing = URL if not url else _TOKEN
            raise RequestFailedError(
                Failure(Kind.DENIED, f"GitHub issues no JWT for this job: ${missing} is not set; {todo}")
            )
        status, content = self._ask(url, token)
        if status != _OK:
            kind = Kind.UNAVAILABLE if status >= _SERVER_ERROR or status == _LIMITED else Kind.DENIED
            raise RequestFailedError(Failure(kind, f"GitHub issued no JWT for this job: it answered {status}"))
        try:
            return msgspec.json.decode(content, type=_IssuedJwt).value
        except DECODE_ERRORS:
            raise RequestFailedError(
                Failure(Kind.UNAVAILABLE, "GitHub issued no JWT: its answer is truncated or not GitHub's")
            ) from None

    def fingerprint(self) -> bytes:
        return hashlib.sha256("\0".join(self._environ.get(name, "") for name in (URL, _TOKEN)).encode()).digest()

    def _ask(self, url: str, token: str) -> tuple[int, bytes]:
        query = urlsplit(url).query
        if self._audience is not None:
            query = f"{query}&audience={quote(self._audience, safe='')}"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json; api-version=2.0"}
        try:
            connection = Connector(Address(url, proxy=self._proxy)).open(url, timeout=CONNECT_TIMEOUT)
            try:
                response, content = connection.exchange("GET", f"?{query}", None, headers, READ_TIMEOUT)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError:
            text = "GitHub's certificate is not trusted; set $SSL_CERT_FILE to a file with its CA"
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, text)) from None
        except (OSError, InvalidResponseError) as exc:
            raise RequestFailedError(
                Failure(Kind.UNAVAILABLE, f"no JWT from GitHub: {describe_connection_error(exc)}")
            ) from None
        except ValueError:
            raise RequestFailedError(
                Failure(Kind.DENIED, f"${URL} or ${_TOKEN} has characters that cannot be sent")
            ) from None
        return response.status, content


class _IssuedJwt(msgspec.Struct):
    value: str


def describe_claims(jwt: str) -> str:
    """The claims that roles usually bind. They are not secret, and the usual reason for a denial."""
    payload = [*jwt.split("."), ""][1]
    try:
        claims: dict[str, Any] = msgspec.json.decode(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=dict
        )
    except (ValueError, *DECODE_ERRORS):
        return "; it is not a JWT"
    return "; its claims: " + ", ".join(f"{name} {claims.get(name)!r}" for name in _REPORTED_CLAIMS)
