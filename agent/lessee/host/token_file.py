"""The token of a TCP port: read at each request, so that it can be replaced."""

from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError
from lessee.telemetry.logs import log

MIN_LENGTH = 16
"""Characters: a shorter token could be guessed."""
_MAX_LENGTH = 4096


class TokenFile:
    """The file with the token that requests must send. Any thread may use it."""

    def __init__(self, path: Path, key: str) -> None:
        """`key` names it in the configuration. Raises ConfigError if the file does not contain a valid token."""
        self._path, self._key = path, key
        self._last_warning: str | None = None
        try:
            self._read()
        except (OSError, ValueError) as exc:
            todo = "create it: `openssl rand -hex 16 > FILE`"
            raise ConfigError([LesseeError(_reason(exc), where=f"{key} {path}", todo=todo)]) from None

    def matches(self, token: bytes) -> bool:
        """Compare a token in constant time. Every token is rejected while the file cannot be read."""
        try:
            expected = self._read()
        except (OSError, ValueError) as exc:
            self._warn(_reason(exc))
            return False
        self._last_warning = None
        # Hashed, so that both have the same length.
        return compare_digest(sha256(token).digest(), sha256(expected).digest())

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            text = file.read(_MAX_LENGTH + 1).strip()
        if not MIN_LENGTH <= len(text) <= _MAX_LENGTH:
            raise ValueError(f"it does not contain a token of {MIN_LENGTH} to {_MAX_LENGTH} characters")
        return text

    def _warn(self, reason: str) -> None:
        if reason != self._last_warning:
            self._last_warning = reason
            log(
                "warning",
                "status token unreadable" if self._key.startswith("status") else "read token unreadable",
                file=str(self._path),
                reason=reason,
                note="the port rejects every request",
            )


def _reason(exc: OSError | ValueError) -> str:
    return f"it cannot be read: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
