"""Logs in by AppRole, with a plain or a response-wrapped secret_id."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.vault.auth.login import FORBIDDEN, RARELY, Clock, Grant, fingerprint, log_in, read_credential_file
from lessee.vault.transport import RequestFailedError, Transport

if TYPE_CHECKING:
    from lessee.vault.auth.credential_command import CredentialCommand
    from lessee.vault.auth.issued_secret_id import IssueSocket


class AppRoleLogin:
    """AppRole. A secret_id that can be read only once stays in memory for the next login."""

    def __init__(  # AppRole has these parameters.
        self,
        *,
        mount: str,
        role_id: str | None,
        role_id_file: str | None,
        secret_id_file: str | None,
        wrapping_path: str | None,
        remove: bool,
        socket: "IssueSocket | None" = None,
        command: "CredentialCommand | None" = None,
    ) -> None:
        """`wrapping_path`: where a wrapping token must have been created; `*` is a wildcard."""
        self._mount = mount
        self._role_id = role_id
        self._role_id_file = role_id_file
        self._secret_id_file = secret_id_file
        self._wrapping_path = wrapping_path
        self._remove = remove
        self._socket = socket
        self._command = command
        self._issued_token: str | None = None
        """A wrapping token from the socket that was not unwrapped yet."""
        self._secret_id_in_memory: str | None = None
        self._used_token: tuple[bytes, Failure] | None = None

    def login(self, transport: Transport, clock: Clock) -> Grant:
        role_id = self._role_id or _read(self._role_id_file or "")
        body = {"role_id": role_id}
        if self._socket is not None:
            body["secret_id"] = self._secret_id_in_memory or self._unwrap_issued(transport, self._socket)
        elif self._command is not None:
            body["secret_id"] = self._make_secret_id(transport, self._command)
        elif self._secret_id_file is not None:
            body["secret_id"] = self._read_secret_id(transport, self._secret_id_file)
        denied = (
            f"Vault does not accept the role_id and secret_id at auth/{self._mount}, or has locked the role"
            f" after denied logins; {self._remedy()}"
        )
        try:
            grant = log_in(transport, f"auth/{self._mount}/login", body, clock, denied=denied, again=RARELY)
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.DENIED:
                self._secret_id_in_memory = None  # The file may hold a new one by now.
            raise
        if self._remove and self._secret_id_file is not None:
            # Not before the login: if it fails, the next start still needs the file.
            self._secret_id_in_memory = body["secret_id"]
            _unlink(self._secret_id_file)
        return grant

    def _remedy(self) -> str:
        if self._socket is not None:
            return "the agent asks `lessee issue` for a new secret_id"
        if self._command is not None:
            return f"they are the role_id and {self._command.name}"
        files = " or ".join(file for file in (self._role_id_file, self._secret_id_file) if file is not None)
        return (
            f"write the right one to {files}: `lessee setup --output DIR` creates both" if files else "correct role_id"
        )

    def fingerprint(self) -> bytes:
        files = fingerprint(self._role_id_file, self._secret_id_file)
        if self._command is not None:
            return files + self._command.fingerprint()
        return files if self._socket is None else files + self._socket.state().encode()

    def _make_secret_id(self, transport: Transport, command: "CredentialCommand") -> str:
        """What the program prints; a wrapping token is unwrapped once, and its secret_id stays in memory."""
        if self._wrapping_path is None:
            return command.credential()
        return self._secret_id_in_memory or self._unwrap(transport, command.credential(), self._wrapping_path)

    def _unwrap_issued(self, transport: Transport, socket: "IssueSocket") -> str:
        self._issued_token = self._issued_token or socket.wrapping_token()
        try:
            secret_id = self._unwrap(transport, self._issued_token, self._wrapping_path or "")
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.UNAVAILABLE:
                self._issued_token = None
            raise
        self._issued_token = None
        return secret_id

    def _read_secret_id(self, transport: Transport, file: str) -> str:
        try:
            content = _read(file)
        except RequestFailedError:
            if self._secret_id_in_memory is not None:
                return self._secret_id_in_memory
            raise
        if self._wrapping_path is not None:
            return self._unwrap(transport, content, self._wrapping_path)
        return content

    def _unwrap(self, transport: Transport, wrapping_token: str, expected: str) -> str:
        digest = hashlib.sha256(wrapping_token.encode()).digest()
        if self._used_token is not None and self._used_token[0] == digest:
            if self._secret_id_in_memory is not None:
                return self._secret_id_in_memory
            raise RequestFailedError(self._used_token[1])  # Without a further request.
        try:
            self._check_origin(transport, wrapping_token, expected)
            answer = transport.request("POST", "sys/wrapping/unwrap", token=wrapping_token)
            secret_id = answer.data.get("secret_id")
            if not isinstance(secret_id, str):
                raise RequestFailedError(_NO_SECRET_ID)  # noqa: TRY301  # A failure like Vault's own.
        except RequestFailedError as exc:
            failure = exc.failure
            if failure.kind is Kind.INVALID:
                failure = _USED_BY_OTHERS
            elif failure.kind is Kind.DENIED:  # Of a used token, Vault says so, with 400.
                failure = Failure(Kind.FORBIDDEN, f"the wrapping token cannot be looked up; {FORBIDDEN}")
            if failure.kind is Kind.ALREADY_UNWRAPPED:
                self._used_token = (digest, failure)
            raise RequestFailedError(failure) from None
        self._used_token = (digest, _USED_FOR_LOGIN)
        self._secret_id_in_memory = secret_id
        return secret_id

    def _check_origin(self, transport: Transport, wrapping_token: str, expected: str) -> None:
        """Check before unwrapping that the token was created at the expected path: any client can wrap any data."""
        data = transport.request("POST", "sys/wrapping/lookup", token=None, body={"token": wrapping_token}).data
        path = str(data.get("creation_path") or "")
        if not fnmatchcase(path, expected):
            text = f"the wrapping token was created at {path or 'an unknown path'}, not at {expected}: {_INVESTIGATE}"
            raise RequestFailedError(Failure(Kind.ALREADY_UNWRAPPED, text))


_INVESTIGATE = "an attacker may have placed it there; find out where it is from, and write a new one"
_NO_SECRET_ID = Failure(Kind.ALREADY_UNWRAPPED, "the wrapping token does not wrap a secret_id")
_USED_FOR_LOGIN = Failure(Kind.ALREADY_UNWRAPPED, "this wrapping token has been used for a login; write a new one")
_USED_BY_OTHERS = Failure(
    Kind.ALREADY_UNWRAPPED,
    "the wrapping token has been used or has expired; if you did not use it, another client has read the secret_id:"
    " destroy it (auth/approle/role/…/secret-id-accessor/destroy), and write a new wrapping token",
)


def _read(file: str) -> str:
    try:
        return read_credential_file(file)
    except RequestFailedError as exc:
        text = f"{exc.failure.text}; write it there: `lessee setup --output DIR` creates it"
        raise RequestFailedError(replace(exc.failure, text=text)) from None


def _unlink(file: str) -> None:
    try:
        Path(file).unlink(missing_ok=True)
    except OSError as exc:
        raise RequestFailedError(Failure(Kind.DENIED, f"cannot remove {file} after reading: {exc.strerror}")) from None
