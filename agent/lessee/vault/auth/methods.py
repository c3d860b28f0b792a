"""Auth methods whose credentials are files: jwt, kubernetes, cert and userpass."""

from collections.abc import Mapping

from lessee.vault.auth.login import RARELY, Clock, Grant, fingerprint, log_in, read_credential_file
from lessee.vault.transport import Transport

_ROLES = {"role": "role", "name": "certs"}
"""Where the mount has the role that a key of the login's body names."""


class FileLogin:
    """A login with the contents of files, which are read again at each login."""

    def __init__(
        self,
        path: str,
        body: Mapping[str, str],
        *,
        files: Mapping[str, str],
        tls_files: tuple[str, ...] = (),
        locks_user: bool = False,
    ) -> None:
        """`files`: by key of the request's body. `tls_files`: the certificate and key of the connection.

        `locks_user`: whether Vault locks a user out after denied logins.
        """
        self._path = path
        self._body = body
        self._files_by_key = files
        self._tls_files = tls_files
        self._locks_user = locks_user

    def login(self, transport: Transport, clock: Clock) -> Grant:
        for file in self._tls_files:
            read_credential_file(file)  # Otherwise an empty or missing file would look like a broken connection.
        body = {**self._body, **{key: read_credential_file(file) for key, file in self._files_by_key.items()}}
        return log_in(transport, self._path, body, clock, denied=self._denied(), again=RARELY)

    def fingerprint(self) -> bytes:
        return fingerprint(*self._files())

    def _files(self) -> tuple[str, ...]:
        return (*self._files_by_key.values(), *self._tls_files)

    def _denied(self) -> str:
        settings = "".join(f", {key} {value}" for key, value in self._body.items())
        locked = ", or has locked the user after denied logins" if self._locks_user else ""
        text = f"Vault does not accept {' and '.join(self._files())} at {self._path}{settings}{locked}"
        for key, folder in _ROLES.items():
            if name := self._body.get(key):
                text += (
                    f"; `bao read {self._path.removesuffix('/login')}/{folder}/{name}` prints what the role requires"
                )
        return text
