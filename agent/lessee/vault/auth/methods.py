"""The ways to log in that need no more than files: jwt, kubernetes, cert and userpass."""

from collections.abc import Mapping

from lessee.vault.auth.login import Clock, Grant, log_in, mark, read
from lessee.vault.transport import Transport


class FileLogin:
    """One request with what stands in files, which are read anew each time."""

    def __init__(
        self,
        path: str,
        body: Mapping[str, str],
        *,
        sent: Mapping[str, str],
        shown: tuple[str, ...] = (),
        locks: bool = False,
    ) -> None:
        """`sent`: the file behind each further key of the body. `shown`: files that the connection itself proves.

        `locks`: whether Vault locks a user out after refusals.
        """
        self._path = path
        self._body = body
        self._sent = sent
        self._shown = shown
        self._locks = locks

    def login(self, transport: Transport, clock: Clock) -> Grant:
        for file in self._shown:
            read(file)  # One that is empty or missing would be told of as a broken connection.
        body = {**self._body, **{key: read(file) for key, file in self._sent.items()}}
        return log_in(transport, self._path, body, clock, refused=self._refused())

    def mark(self) -> bytes:
        return mark(*self._files())

    def _files(self) -> tuple[str, ...]:
        return (*self._sent.values(), *self._shown)

    def _refused(self) -> str:
        settings = "".join(f", {key} {value}" for key, value in self._body.items())
        locked = ", or has locked the user after refusals" if self._locks else ""
        return (
            f"Vault does not accept {' and '.join(self._files())} at {self._path}{settings}{locked};"
            " it is asked again after a change there, and seldom otherwise"
        )
