"""Reads the KV secrets of a server, several in parallel, and each one consistently."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from lessee.core.errors import DeniedError, VaultUnreachableError
from lessee.core.immutable import ImmutableStruct
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup.policy.kv_reader import Read, secret_from, versions_to_read
from lessee.ops.backup.policy.records import Secret, Version, fingerprint
from lessee.vault.admin import AdminClient

THREADS = 6
WINDOW = 4 * THREADS
"""The number of secrets in memory at a time."""
LISTED = 1000
"""The largest number of secrets in a folder whose metadata is listed in one request."""
TRIES = 20
"""How often a secret is read again if it changes while it is read."""
STRICT_TRIES = 3
"""How many of these reads insist on all versions."""
_T = TypeVar("_T")
_R = TypeVar("_R")


def secrets(
    client: AdminClient, mounts: Mapping[str, int], key: bytes, progress: Progress = SILENT
) -> Iterator[Secret]:
    """All secrets of KV mounts, given with their versions, in order. Raises DeniedError or VaultUnreachableError.

    The names of all secrets are listed first, so that the progress has a total; they are all that is held in memory.
    """
    progress.phase("listing secrets")
    found = []
    for folder in folders(client, mounts):
        found.append(folder)
        progress.advance(len(folder.names))
    total = sum(len(folder.names) for folder in found)

    def read(place: tuple[str, str, Mapping[str, Any] | None]) -> Secret | None:
        mount, path, listed = place
        return secret(client, mount, path, mounts[mount], key, listed)

    read_secrets = each(read, _places(client, mounts, found))
    return (one for one in progress.track(read_secrets, "saving secrets", total) if one is not None)


class SecretFolder(ImmutableStruct, frozen=True):
    """A folder of a KV mount, and the names of the secrets in it, without its subfolders."""

    mount: str
    path: str
    """Empty, or with a slash at the end."""
    names: tuple[str, ...]


def folders(client: AdminClient, mounts: Mapping[str, int]) -> Iterator[SecretFolder]:
    """The folders of each mount that hold secrets. Raises DeniedError or VaultUnreachableError."""
    return (folder for mount, version in mounts.items() for folder in _walk(client, mount, version, ""))


def each(work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """The result of `work` for each item, in order. A few items are processed in parallel, and only these are held."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[_R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= WINDOW:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def secret(
    client: AdminClient, mount: str, path: str, version: int, key: bytes, listed: Mapping[str, Any] | None = None
) -> Secret | None:
    """A secret with its versions, None if it does not exist. Raises DeniedError or VaultUnreachableError.

    `listed`: its metadata in a listing of its folder, which saves a request if the secret has not changed since.
    """
    if version == 1:
        data = client.read(mount + path)
        if data is None:
            return None
        print_ = fingerprint(key, mount, path, dict(data))
        return Secret(mount, path, 1, 0, {}, (Version(0, dict(data), print_),))
    for attempt in range(TRIES):
        metadata = listed if listed is not None and not attempt else client.read(f"{mount}metadata/{path}")
        if metadata is None:
            return None
        reads = {number: _read(client, f"{mount}data/{path}", number) for number in versions_to_read(metadata)}
        found = secret_from(mount, path, metadata, reads, key, strict=attempt < STRICT_TRIES)
        if found is not None:
            return found
    raise VaultUnreachableError(
        f"the secret changed during each of {TRIES} reads", where=mount + path, todo="try again"
    )


def _places(
    client: AdminClient, mounts: Mapping[str, int], found: Iterable[SecretFolder]
) -> Iterator[tuple[str, str, Mapping[str, Any] | None]]:
    """Mount and path of each secret, with its metadata where the server lists it (OpenBao 2.3)."""
    unlisted = {mount for mount, version in mounts.items() if version == 1}
    for folder in found:
        listed: Mapping[str, Any] = {}
        # The metadata of a whole folder is in memory.
        if folder.mount not in unlisted and len(folder.names) <= LISTED:
            try:
                answer = client.read(f"{folder.mount}detailed-metadata/{folder.path}", {"list": "true"})
                found_keys = (answer or {}).get("key_info")
                listed = found_keys if isinstance(found_keys, Mapping) else {}
            except DeniedError:  # Another server, or a policy from before: each secret is asked for its own.
                unlisted.add(folder.mount)
        for name in folder.names:
            metadata = listed.get(name)
            has_versions = isinstance(metadata, Mapping) and metadata.get("versions")
            yield folder.mount, folder.path + name, metadata if has_versions else None


def _read(client: AdminClient, path: str, number: int) -> Read:
    found = client.read_version(path, number)
    return Read(found.get("data"), found.get("metadata") or {})


def _walk(client: AdminClient, mount: str, version: int, folder: str) -> Iterator[SecretFolder]:
    names = client.list(f"{mount}{'metadata/' if version != 1 else ''}{folder}")
    if own := tuple(name for name in names if not name.endswith("/")):
        yield SecretFolder(mount, folder, own)
    for name in names:
        if name.endswith("/"):
            yield from _walk(client, mount, version, folder + name)
