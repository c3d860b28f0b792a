"""The token of the TCP port: read anew at each request, so that it can be replaced."""

from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError
from lessee.telemetry.logs import log

SHORTEST = 16
"""Characters: a shorter one could be guessed."""
_LONGEST = 4096


class Token:
    """What a request has to show. Safe for any thread."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where there is none that would do."""
        self._path = path
        self._told: str | None = None
        try:
            self._read()
        except (OSError, ValueError) as exc:
            todo = "let it hold some 32 random characters: `openssl rand -hex 16 > FILE`"
            raise ConfigError([LesseeError(_reason(exc), where=f"status.token_file {path}", todo=todo)]) from None

    def knows(self, shown: bytes) -> bool:
        """Whether this is it, in a time that says nothing. Nobody is let in while the file cannot be read."""
        try:
            wanted = self._read()
        except (OSError, ValueError) as exc:
            self._tell(_reason(exc))
            return False
        self._told = None
        # Of equal length, whatever is shown.
        return compare_digest(sha256(shown).digest(), sha256(wanted).digest())

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            text = file.read(_LONGEST + 1).strip()
        if not SHORTEST <= len(text) <= _LONGEST:
            raise ValueError(f"it does not hold a token of {SHORTEST} to {_LONGEST} characters")
        return text

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            log("warning", "the status port serves nobody", file=str(self._path), reason=reason)


def _reason(exc: OSError | ValueError) -> str:
    return f"it cannot be read: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
