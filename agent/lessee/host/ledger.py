"""What the agent must remember over its own death, on its state tmpfs: the token, and which app is owed a word."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from lessee.core.errors import CannotWrite
from lessee.host.directories import cannot_write, open_directory
from lessee.host.mounts import refuse_disk


class KeptToken(msgspec.Struct, frozen=True):
    """A token's value, and the identity for which it was issued."""

    identity: str
    value: str

    def __repr__(self) -> str:
        return "KeptToken(…)"


class Ledger:
    """A directory of small files, 0600 in a folder of 0700, each replaced whole. One agent at a time holds it."""

    def __init__(self, directory: Path, *, allow_disk: bool) -> None:
        """Raises CannotWrite: not tmpfs, not writable, or held by another agent."""
        self._path = directory
        self._fd = open_directory(directory, make=(0o700, None, None))
        if not allow_disk:
            refuse_disk(self._fd, directory)
        self._lock = self._take_lock()

    def close(self) -> None:
        """Let another agent have it; what is written stays."""
        os.close(self._lock)
        os.close(self._fd)

    def token(self, identity: str) -> str | None:
        """The kept token, if it was issued for this identity."""
        content = self._read("token")
        with suppress(msgspec.MsgspecError):
            kept = msgspec.json.decode(content, type=KeptToken)
            return kept.value if kept.identity == identity else None
        return None

    def keep_token(self, identity: str, value: str) -> None:
        self._write("token", msgspec.json.encode(KeptToken(identity, value)))

    def owe(self, app: str, number: int) -> None:
        """Before generation `number` is shown: the app will have to be told of it."""
        # The one that is live and owed stays owed, should this one never come to be.
        self._write(f"owed-{app}", msgspec.json.encode([*self._owed(app)[-1:], number]))

    def is_owed(self, app: str, live: int | None) -> bool:
        """Whether the live generation was shown and nobody told: a generation that never came to be owes nothing."""
        return live is not None and live in self._owed(app)

    def settle(self, app: str) -> None:
        """The app has been told."""
        with cannot_write(self._path), suppress(FileNotFoundError):
            os.unlink(f"owed-{app}", dir_fd=self._fd)

    def _owed(self, app: str) -> list[int]:
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(self._read(f"owed-{app}"), type=list[int])
        return []

    def _read(self, name: str) -> bytes:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return b""
        with os.fdopen(fd, "rb") as stream:
            return stream.read()

    def _write(self, name: str, content: bytes) -> None:
        temporary = f"{name}.new"
        with cannot_write(self._path):
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._fd)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=self._fd), "wb") as stream:
                stream.write(content)
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def _take_lock(self) -> int:
        with cannot_write(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open("lock", flags, 0o600, dir_fd=self._fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise CannotWrite(
                "another lessee holds this state",
                where=str(self._path),
                todo="ask it with `lessee status` or `lessee refresh`, or give this one a `state` of its own",
            ) from None
        return fd
