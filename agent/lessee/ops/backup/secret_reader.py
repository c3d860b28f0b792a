"""Reads the secrets of a server: several at a time, and each as it was at one moment."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from lessee.core.errors import VaultUnreachableError
from lessee.ops.backup.policy.kv_reader import Read, secret_from, to_ask
from lessee.ops.backup.policy.records import Secret, Version, fingerprint
from lessee.vault.admin import AdminClient

THREADS = 6
WINDOW = 4 * THREADS
"""How many secrets are in memory at a time."""
TRIES = 20
"""How often a secret is read that changes while it is read."""
STRICT_TRIES = 3
"""How many of these for a secret with all its versions."""
_T = TypeVar("_T")
_R = TypeVar("_R")


def secrets(client: AdminClient, mounts: Mapping[str, int], key: bytes) -> Iterator[Secret]:
    """All in these mounts of KV, which have version 1 or 2; in order. Raises DeniedError or VaultUnreachableError."""
    found = each(lambda place: secret(client, *place, mounts[place[0]], key), places(client, mounts))
    return (one for one in found if one is not None)


def places(client: AdminClient, mounts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Mount and path of each. Raises DeniedError or VaultUnreachableError."""
    return ((mount, path) for mount, version in mounts.items() for path in _walk(client, mount, version, ""))


def each(work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """What comes of each item, in order; a few are worked on at the same time, and no more is held."""
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


def secret(client: AdminClient, mount: str, path: str, version: int, key: bytes) -> Secret | None:
    """None where there is none. Raises DeniedError or VaultUnreachableError."""
    if version == 1:
        data = client.read(mount + path)
        if data is None:
            return None
        print_ = fingerprint(key, mount, path, dict(data))
        return Secret(mount, path, 1, 0, {}, (Version(0, dict(data), print_),))
    for attempt in range(TRIES):
        metadata = client.read(f"{mount}metadata/{path}")
        if metadata is None:
            return None
        reads = {number: _read(client, f"{mount}data/{path}", number) for number in to_ask(metadata)}
        found = secret_from(mount, path, metadata, reads, key, strict=attempt < STRICT_TRIES)
        if found is not None:
            return found
    raise VaultUnreachableError(f"it changed at each of {TRIES} readings", where=mount + path, todo="try again")


def _read(client: AdminClient, path: str, number: int) -> Read:
    found = client.read_version(path, number)
    return Read(found.get("data"), found.get("metadata") or {})


def _walk(client: AdminClient, mount: str, version: int, folder: str) -> Iterator[str]:
    for name in client.list(f"{mount}{'metadata/' if version != 1 else ''}{folder}"):
        if name.endswith("/"):
            yield from _walk(client, mount, version, folder + name)
        else:
            yield folder + name
