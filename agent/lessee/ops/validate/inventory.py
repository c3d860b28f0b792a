"""Reads the secrets of an environment: all that the token may list, or else those that the configuration names."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from lessee.core.errors import VaultRequestError
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.sensitive.names import SecretField, fields, is_not_secret
from lessee.ops.validate.concurrency import map_concurrently
from lessee.vault.admin import AdminClient

MAX_SECRETS = 2000
"""Secrets that are read."""
_OWN = "lessee/"
"""lessee's own documents in an environment: fingerprints and journals, which are alike everywhere."""


class Inventory(ImmutableStruct, frozen=True):
    """The secrets that were read; of a deleted secret only its version metadata."""

    hidden = ("secrets",)

    secrets: Mapping[Ref, Secret]
    deleted: Mapping[Ref, VersionMetadata]
    listed: bool
    """Whether the token may list the environment's folder."""
    denied: tuple[str, ...] = ()
    """Paths that the token may not read, and folders that it may not list."""
    missing: frozenset[Ref] = frozenset()
    """Secrets that the configuration names, and that do not exist."""
    unread: int = 0
    """Secrets for which the time was too short, or that are too many; the latter count as one."""

    def values(self) -> Iterator[tuple[SecretField, str]]:
        """All secret values with their fields."""
        for ref, secret in self.secrets.items():
            for key, value in fields(secret.data):
                if not is_not_secret(key, value):
                    yield SecretField(str(ref), key), value

    @property
    def non_secret_count(self) -> int:
        """The number of other values, which are not secret by their keys."""
        found = (pair for secret in self.secrets.values() for pair in fields(secret.data))
        return sum(is_not_secret(key, value) for key, value in found)


def read_inventory(client: AdminClient, version: int, root: Folder, named: Iterable[Ref], seconds: float) -> Inventory:
    """The secrets below a folder, and those that are `named`, read within so many seconds."""
    deadline = time.monotonic() + seconds
    names = _names(client, root, version, deadline)
    refs = sorted({*names.found, *named})
    return _read(client, refs, version, deadline, names)


def read_other_environment(client: AdminClient, version: int, root: Folder, seconds: float) -> Inventory | None:
    """The secrets below another environment's folder; None where the token may not list it, as it should be."""
    deadline = time.monotonic() + seconds
    names = _names(client, root, version, deadline)
    return _read(client, names.found, version, deadline, names) if names.listed else None


class _Names(ImmutableStruct, frozen=True):
    """The secrets below a folder. `complete`: there are no others, except in folders that are `denied`."""

    found: list[Ref]
    complete: bool
    listed: bool = True
    denied: tuple[str, ...] = ()


def _names(client: AdminClient, root: Folder, version: int, deadline: float) -> _Names:
    """Breadth first."""
    found: list[Ref] = []
    denied: list[str] = []
    complete = True
    own = Folder(root.mount, f"{root.path}{_OWN}")
    waiting = deque([root])
    while waiting and len(found) <= MAX_SECRETS and time.monotonic() < deadline:
        folder = waiting.popleft()
        try:
            names = client.list(f"{folder.mount}/{'metadata/' if version != 1 else ''}{folder.path}")
        except VaultRequestError as exc:
            if exc.kind is not Kind.DENIED:
                complete = False
            elif folder == root:
                return _Names([], complete=True, listed=False)
            else:
                denied.append(str(folder))
            continue
        found += [folder.ref(name) for name in names if not name.endswith("/")]
        children = (Folder(folder.mount, folder.path + name) for name in names if name.endswith("/"))
        waiting += [child for child in children if child != own]
    return _Names(found, complete and not waiting, denied=tuple(denied))


def _read(client: AdminClient, refs: list[Ref], version: int, deadline: float, names: _Names) -> Inventory:
    some, more = refs[:MAX_SECRETS], not names.complete or len(refs) > MAX_SECRETS
    read = partial(_read_secret, client, version)
    results = sorted(map_concurrently(some, read, max(deadline - time.monotonic(), 0)).items())
    denied = (str(ref) for ref, result in results if isinstance(result, Failure))
    return Inventory(
        secrets={ref: result for ref, result in results if isinstance(result, Secret)},
        deleted={ref: result for ref, result in results if isinstance(result, VersionMetadata)},
        listed=names.listed,
        denied=(*names.denied, *denied),
        missing=frozenset(ref for ref, result in results if result is None),
        unread=len(some) - len(results) + more,
    )


def _read_secret(client: AdminClient, version: int, ref: Ref) -> Secret | VersionMetadata | Failure | None:
    try:
        return client.read_secret(ref, version)
    except VaultRequestError as exc:
        return Failure(exc.kind, exc.what)
