"""AppRole, with its secret_id plain or response-wrapped."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path

from lessee.core.failures import Failure, Kind
from lessee.vault.auth.login import Clock, Grant, log_in, mark, read
from lessee.vault.transport import RequestFailedError, Transport


class AppRoleLogin:
    """AppRole. A secret_id that can be read only once is kept in memory, for the next login."""

    def __init__(  # They are AppRole's own parameters.
        self,
        *,
        mount: str,
        role_id: str | None,
        role_id_file: str | None,
        secret_id_file: str | None,
        wrapped_path: str | None,
        remove: bool,
    ) -> None:
        """`wrapped_path`: the file holds a wrapping token that must have been made at this path (`*` matches)."""
        self._mount = mount
        self._role_id = role_id
        self._role_id_file = role_id_file
        self._secret_id_file = secret_id_file
        self._wrapped_path = wrapped_path
        self._remove = remove
        self._kept: str | None = None
        self._spent: tuple[bytes, Failure] | None = None

    def login(self, transport: Transport, clock: Clock) -> Grant:
        role_id = self._role_id or read(self._role_id_file or "")
        body = {"role_id": role_id}
        if self._secret_id_file is not None:
            body["secret_id"] = self._secret_id(transport, self._secret_id_file)
        refused = (
            f"Vault does not accept the role_id and secret_id at auth/{self._mount}, or has locked the role"
            " after refusals; it is asked again when the files change, and seldom otherwise"
        )
        try:
            grant = log_in(transport, f"auth/{self._mount}/login", body, clock, refused=refused)
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.DENIED:
                self._kept = None  # a new one may have come into the file
            raise
        if self._remove and self._secret_id_file is not None:
            # Only now: had Vault been away, the next start would have had nothing to log in with.
            self._kept = body["secret_id"]
            _unlink(self._secret_id_file)
        return grant

    def mark(self) -> bytes:
        return mark(self._role_id_file, self._secret_id_file)

    def _secret_id(self, transport: Transport, file: str) -> str:
        try:
            content = read(file)
        except RequestFailedError:
            if self._kept is not None:
                return self._kept
            raise
        if self._wrapped_path is not None:
            return self._unwrap(transport, content, self._wrapped_path)
        return content

    def _unwrap(self, transport: Transport, wrapping_token: str, expected: str) -> str:
        digest = hashlib.sha256(wrapping_token.encode()).digest()
        if self._spent is not None and self._spent[0] == digest:
            if self._kept is not None:
                return self._kept
            raise RequestFailedError(self._spent[1])  # Vault is not asked again
        try:
            self._check_origin(transport, wrapping_token, expected)
            answer = transport.ask("POST", "sys/wrapping/unwrap", token=wrapping_token)
            secret_id = answer.data.get("secret_id")
            if not isinstance(secret_id, str):
                raise RequestFailedError(Failure(Kind.ALREADY_UNWRAPPED, "the wrapping token holds no secret_id"))  # noqa: TRY301
        except RequestFailedError as exc:
            failure = exc.failure
            if failure.kind in {Kind.INVALID, Kind.DENIED}:
                failure = Failure(Kind.ALREADY_UNWRAPPED, _SPENT)
            if failure.kind is Kind.ALREADY_UNWRAPPED:
                self._spent = (digest, failure)
            raise RequestFailedError(failure) from None
        self._spent = (digest, Failure(Kind.ALREADY_UNWRAPPED, "this wrapping token served its login; a new one is needed"))
        self._kept = secret_id
        return secret_id

    def _check_origin(self, transport: Transport, wrapping_token: str, expected: str) -> None:
        """Before it is unwrapped: was it made where we expect? Anyone can wrap anything."""
        data = transport.ask("POST", "sys/wrapping/lookup", token=None, body={"token": wrapping_token}).data
        path = str(data.get("creation_path") or "")
        if not fnmatchcase(path, expected):
            text = f"the wrapping token was made at {path or 'an unknown path'}, not at {expected}: {_ALARM}"
            raise RequestFailedError(Failure(Kind.ALREADY_UNWRAPPED, text))


_ALARM = "someone may have put it there; find out who, and bring a new one"
_SPENT = (
    "the wrapping token has been used or has ended: if it was not you, someone has read the secret_id;"
    " revoke it (auth/approle/role/…/secret-id-accessor/destroy), and bring a new one"
)


def _unlink(file: str) -> None:
    try:
        Path(file).unlink(missing_ok=True)
    except OSError as exc:
        raise RequestFailedError(Failure(Kind.DENIED, f"cannot remove {file} after reading: {exc.strerror}")) from None
