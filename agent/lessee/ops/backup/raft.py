"""Downloads, verifies and restores raft snapshots."""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, cast

from lessee.core.errors import VaultUnreachableError
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup.encryption import CHUNK_SIZE
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.vault.admin import AdminClient

# hvac sends snapshots past its adapter with a requests.Session of its own, and reads a restored one at one go.
PATH = "sys/storage/raft/snapshot"
_SUMS = "SHA256SUMS"
_LARGEST_SUMS = 1 << 16


def take(client: AdminClient, write: Callable[[bytes], None], progress: Progress = SILENT) -> None:
    """Download a snapshot in chunks, and verify it. Raises DeniedError or VaultUnreachableError."""
    try:
        with client.stream("GET", PATH) as answer:
            chunks = progress.track(iter(lambda: answer.read(CHUNK_SIZE), b""), "saving the raft snapshot", size=len)
            check(_written(chunks, write))
    except ArchiveError as exc:
        # A server that fails during the transfer has already answered 200.
        raise VaultUnreachableError(f"Vault sent an incomplete snapshot: {exc.what}", where=PATH) from None


def put(client: AdminClient, chunks: Iterable[bytes], size: int, *, force: bool, progress: Progress = SILENT) -> None:
    """Replace all of a server's data. `force`: even with another seal. Raises DeniedError or VaultUnreachableError."""
    path = f"{PATH}-force" if force else PATH
    body = progress.track(chunks, "restoring the raft snapshot", size, size=len)
    with client.stream("POST", path, body=body, size=size) as answer:
        answer.read()


def check(chunks: Iterator[bytes]) -> None:
    """Read a snapshot completely. Raises ArchiveError where its checksums are wrong or missing."""
    source = _Pieces(chunks)
    found: dict[str, str] = {}
    sums: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|gz") as tar:
            for info in tar:
                content = cast("IO[bytes]", tar.extractfile(info)) if info.isreg() else None
                if content is None:
                    raise ArchiveError("the raft snapshot contains a member that is not a regular file")
                if info.name == _SUMS:
                    sums = _sums(content)
                else:
                    found[info.name] = _hash(content)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError):
        raise ArchiveError("the raft snapshot is truncated or altered") from None
    for _ in chunks:
        pass
    named = {name: digest for name, digest in found.items() if not name.startswith(_SUMS)}
    if not sums or any(sums.get(name) != digest for name, digest in named.items()) or set(sums) - set(named):
        raise ArchiveError("the raft snapshot does not match its own checksums")


class _Pieces:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._pieces, self._rest = chunks, b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._pieces, b"")):
            self._rest += chunk
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk


def _written(chunks: Iterator[bytes], write: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        write(chunk)
        yield chunk


def _hash(content: IO[bytes]) -> str:
    found: Any = hashlib.sha256()
    while chunk := content.read(CHUNK_SIZE):
        found.update(chunk)
    return str(found.hexdigest())


def _sums(content: IO[bytes]) -> dict[str, str]:
    lines = content.read(_LARGEST_SUMS).decode().splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
