"""Logins with a proof of identity that is made for each of them: a signed request, a fresh JWT, a Kerberos ticket."""

from collections.abc import Callable, Mapping
from typing import Any

from lessee.core.errors import LesseeError
from lessee.core.failures import Failure, Kind
from lessee.vault.auth.login import RARELY, Clock, Grant, fingerprint, log_in
from lessee.vault.transport import RequestFailedError, Transport

AUTHORIZATION = "Authorization"
"""The only key of a proof that is a header."""
Proof = Mapping[str, Any]
"""The part of a login's body that proves who logs in."""


class ProofLogin:
    """A login with a new proof each time, so that no server can have seen it before."""

    def __init__(
        self, path: str, role: str | None, prove: Callable[[], Proof], *, name: str, files: tuple[str | None, ...] = ()
    ) -> None:
        """`name`: what proves, in error texts. `files`: those that it is made of. `prove` may raise RequestFailedError,
        and LesseeError if a library is missing.
        """
        self._path = path
        self._role = role
        self._prove = prove
        self._name = name
        self._files = files

    def login(self, transport: Transport, clock: Clock) -> Grant:
        try:
            proof = self._prove()
        except LesseeError as exc:
            raise RequestFailedError(Failure(Kind.DENIED, str(exc))) from None
        headers = {name: proof[name] for name in proof if name == AUTHORIZATION}
        body = {name: proof[name] for name in proof if name != AUTHORIZATION}
        if self._role is not None:
            body["role"] = self._role
        setting = f", role {self._role}" if self._role is not None else ""
        denied = f"Vault does not accept {self._name} at {self._path}{setting}{_claims(proof)}"
        return log_in(transport, self._path, body, clock, denied=denied, again=RARELY, headers=headers)

    def fingerprint(self) -> bytes:
        return fingerprint(*self._files)


def _claims(proof: Proof) -> str:
    if "jwt" not in proof:
        return ""
    from lessee.vault.auth.ci_login import describe_claims  # noqa: PLC0415  # Few logins have a JWT.

    return describe_claims(str(proof["jwt"]))
